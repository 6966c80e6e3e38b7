"""Releases under load: deploy.sh itself, a real nginx, real processes; only the engine for containers is a stand-in.

    make deploy-drill                  four releases, then six that fail
    make deploy-drill args="--releases 20"

D-01: of at least 50,000 requests, half of them POST, none is lost and each is a 200 or a 201. D-02: a release that is gone,
crashes, is never ready, cannot migrate, cannot reload nginx or is interrupted leaves the old one serving, and its files. Needs nginx, PostgreSQL (DATABASE_URL) and Linux.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from quality.deploy.engine import Engine
from quality.testkit.client import Connection
from quality.testkit.nginx import CONFIGURATION, TRAVERSABLE, local, program
from quality.testkit.report import Report
from quality.testkit.server import HOST, ROOT, free_port, variables
from quality.testkit.services import PASSWORD, throwaway_database
from quality.testkit.traffic import NO_ANSWER

CLIENTS = 10  # of each kind
RELEASES = 4
GRACEFUL = (1, 27, 4)  # the nginx that knows keepalive_min_timeout
PAUSE_SECONDS = 0.01
# A machine that is busy makes an application reject: overload is not what is looked at here.
PATIENT = {
    "MAX_CONCURRENT_REQUESTS": "0",
    "PASSWORD_HASH_QUEUE_SIZE": "100",
    "DATABASE_POOL_TIMEOUT_SECONDS": "30",
    "DATABASE_STATEMENT_TIMEOUT_SECONDS": "30",
}
FAILING = ("gone", "cannot-migrate", "crashes", "never-ready", "cannot-reload", "interrupted")
LEAST_REQUESTS = 50_000  # of a drill with as many releases


@dataclass
class Load:
    """What clients have seen. ``fresh`` ones open a connection for each request, the others keep theirs."""

    port: int
    sent: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)
    lost: dict[str, int] = field(default_factory=lambda: {"fresh": 0, "kept": 0})

    async def run(self) -> None:
        kinds = [kind for kind in self.lost for _ in range(CLIENTS)]
        await asyncio.gather(*(self._client(number, kind) for number, kind in enumerate(kinds)))

    async def _client(self, number: int, kind: str) -> None:
        connection, count = Connection(self.port), 0
        while True:
            count += 1
            account = {"email": f"{kind}{number}-{count}@example.com", "password": PASSWORD}
            for expected, ask in (
                (200, partial(connection.get, "/api/v1/health/live")),
                (201, partial(connection.post_json, "/api/v1/users", account)),
            ):
                self.sent += 1
                try:
                    response = await ask()
                except NO_ANSWER:
                    self.lost[kind] += 1
                    connection.close()
                else:
                    if response.status != expected:
                        self.unexpected[f"{response.status} for {expected}"] += 1
                if kind == "fresh":
                    connection.close()
                await asyncio.sleep(PAUSE_SECONDS)


class Machine:
    """deploy/vm in a folder of its own, with a ``docker`` on the PATH that is quality.deploy.engine."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.vm, self.port = folder, folder / "vm", free_port()
        folder.chmod(TRAVERSABLE)
        shutil.copytree(ROOT / "deploy" / "vm", self.vm)
        (self.vm / ".env").write_text(f"IMAGE=backend\nHOST={HOST}\n", encoding="utf-8")
        shipped = CONFIGURATION.read_text(encoding="utf-8")
        configuration = local(shipped, self.port, folder)
        # Every client of this drill has one address.
        configuration = configuration.replace("limit_conn requests 50", "limit_conn requests 500")
        (folder / "nginx.conf").write_text(configuration, encoding="utf-8")
        if self.is_graceful:
            (folder / "deployment.conf").write_text("keepalive_min_timeout 5s;\n", encoding="utf-8")
        ports = {"app_blue": free_port(), "app_green": free_port()}
        environment = variables(
            database_url,
            ALLOWED_HOSTS=HOST,
            DRAIN_SECONDS="5",
            WORKER_IN_PROCESS="false",
            **PATIENT,
        )
        self.drill = {"folder": str(folder), "ports": ports, "environment": environment}
        (folder / "drill.json").write_text(json.dumps(self.drill), encoding="utf-8")
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(f'#!/bin/sh\nexec {sys.executable} -m quality.deploy.engine "$@"\n')
        docker.chmod(0o755)

    @property
    def is_graceful(self) -> bool:
        done = subprocess.run([program(), "-v"], capture_output=True, text=True, check=True)
        found = re.search(r"/(\d+)\.(\d+)\.(\d+)", done.stderr)
        return found is not None and tuple(map(int, found.groups())) >= GRACEFUL

    @property
    def files(self) -> tuple[str, str]:
        """What deploy.sh changes, and a release that fails must not."""
        upstream, slots = self.vm / "upstream.conf", self.vm / "slots.env"
        return upstream.read_text(encoding="utf-8"), slots.read_text(encoding="utf-8")

    async def deploy(self, *arguments: str) -> int:
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "DRILL": str(self.folder / "drill.json"),
            "PYTHONPATH": f"{ROOT / 'backend'}:{ROOT}",
        }
        with (self.folder / "deploy.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                "sh",
                str(self.vm / "deploy.sh"),
                *arguments,
                env=environment,
                stdout=log,
                stderr=log,
            )
            return await process.wait()

    def stop(self) -> None:
        engine = Engine(self.drill, {})
        for service in ("nginx", "worker", "app_blue", "app_green"):
            engine.stop(service)


async def measure(report: Report, machine: Machine, releases: int) -> None:
    report.exactly("the first release", 0, await machine.deploy("1"))
    load = Load(machine.port)
    running = asyncio.create_task(load.run())
    codes = [await machine.deploy(str(number)) for number in range(2, releases + 2)]
    served = load.sent
    report.exactly(f"D-01 exit codes of {releases} releases under load", [0] * releases, codes)
    files, refused = machine.files, {}
    for tag in FAILING:
        refused[tag] = (await machine.deploy(tag), machine.files == files)
    report.exactly(
        "D-02 releases that fail: exit code, and files unchanged",
        dict.fromkeys(FAILING, (1, True)),
        refused,
    )
    report.exactly(
        "back to the release before", 0, await machine.deploy("--no-migrate", str(releases))
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    least = LEAST_REQUESTS * releases // RELEASES
    measured = f"{load.sent:,}, of them {served:,} during the releases that succeed"
    report.row("D-01 requests", f">= {least:,}", measured, kept=load.sent >= least)
    report.exactly("D-01 neither 200 nor 201", {}, dict(load.unexpected))
    report.exactly("D-01 lost, each on a connection of its own", 0, load.lost["fresh"])
    if machine.is_graceful:
        report.exactly("D-01 lost on kept connections", 0, load.lost["kept"])
    else:
        print(
            f"lost on kept connections: {load.lost['kept']}; this nginx is older than 1.27.4, which mends that"
        )


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make deploy-drill")
    parser.add_argument("--releases", type=int, default=RELEASES)
    releases: int = parser.parse_args().releases
    report = Report()
    async with throwaway_database("drill") as url:
        with tempfile.TemporaryDirectory() as name:
            machine = Machine(Path(name), url)
            try:
                await measure(report, machine, releases)
            finally:
                machine.stop()
                if report.missed:
                    print((Path(name) / "deploy.log").read_text(encoding="utf-8"))
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
