"""Checks deploy/ without a cluster and without an engine for containers: ``make deploy-check``.

Needs kubectl, nginx and prometheus, and PostgreSQL (DATABASE_URL) for the scrape. Where caddy is missing, its file is not
checked, which is said. Exit code 1 if a promise is missed.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quality.deploy import manifests, scrape
from quality.deploy.broken import BROKEN, overlooked
from quality.deploy.prometheus import FOLDER, program
from quality.testkit.client import Connection
from quality.testkit.nginx import prepare
from quality.testkit.report import Report
from quality.testkit.server import ROOT, serving, variables
from quality.testkit.services import throwaway_database

VM = ROOT / "deploy" / "vm"
OK = 200


def kubernetes(report: Report) -> None:
    for folder in manifests.RENDERED:
        documents = manifests.render(folder)
        report.exactly(
            f"D-03 kubernetes/{folder}, against {' and '.join(manifests.versions())}",
            [],
            manifests.problems(documents),
        )
    documents = manifests.render("overlays/production")
    report.exactly(
        f"D-03 of {len(BROKEN)} broken manifests that were overlooked", [], overlooked(documents)
    )


async def probes(report: Report, folder: Path) -> None:
    """The probes of the overlay, sent to the application with the settings of the overlay."""
    documents = manifests.render("overlays/production")
    (config,) = manifests.of_kind(documents, "ConfigMap")
    given = {"APP_ENV": "test", "ALLOWED_HOSTS": config["data"]["ALLOWED_HOSTS"]}
    (app,) = [
        d for d in manifests.of_kind(documents, "Deployment") if d["metadata"]["name"] == "app"
    ]
    container = app["spec"]["template"]["spec"]["containers"][0]
    async with (
        throwaway_database("probes") as url,
        serving(folder, variables(url, **given)) as server,
    ):
        for name in manifests.PROBES:
            probe = container[name]["httpGet"]
            raw = "\r\n".join(f"{h['name']}: {h['value']}" for h in probe["httpHeaders"])
            with_host = await raw_status(server.port, probe["path"], raw)
            without = (await Connection(server.port).get(probe["path"])).status
            report.exactly(
                f"D-03 {name}, and the same without its Host", (OK, 400), (with_host, without)
            )


async def raw_status(port: int, path: str, headers: str) -> int:
    connection = Connection(port)
    await connection.send(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
    status = (await connection.response()).status
    connection.close()
    return status


def passes(*command: str) -> str:
    """``ok``, or what the command said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=None)
    return "ok" if done.returncode == 0 else (done.stdout + done.stderr).strip()


def files(report: Report, folder: Path) -> None:
    report.exactly(
        "alerts: promtool check rules",
        "ok",
        passes(program("promtool"), "check", "rules", str(FOLDER / "alerts.yml")),
    )
    report.exactly(
        "alerts: promtool test rules",
        "ok",
        passes(program("promtool"), "test", "rules", str(FOLDER / "alerts_test.yml")),
    )
    prepare(folder, 1, 1)  # raises where nginx refuses it
    report.exactly("nginx.conf and upstream.conf: nginx -t", "ok", "ok")
    if shutil.which("caddy"):
        command = ("env", "HOST=api.example.com", "caddy", "validate", "--adapter", "caddyfile")
        report.exactly(
            "Caddyfile: caddy validate", "ok", passes(*command, "--config", str(VM / "Caddyfile"))
        )
    else:
        print("caddy is not installed: deploy/vm/Caddyfile was not checked.")


async def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files(report, folder)
        kubernetes(report)
        await probes(report, folder)
        await scrape.measure(report, folder)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
