"""A real Prometheus that asks a running application and worker, with the shipped rules."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from quality.testkit.server import HOST, ROOT, free_port, stop
from tests.fixtures.until import until

FOLDER = ROOT / "deploy" / "observability"
MISSING = "prometheus is not installed: apt-get install prometheus (it brings promtool)."
READY_SECONDS = 20
# What is no name of a series in an expression: labels and their values, times, the words of the language, numbers.
BESIDE = re.compile(
    r"""\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)|"[^"]*"|\$\w+"""
)
NAME = re.compile(r"(?<![\w:.])[a-z_]\w*(?![\w:]|\s*\()")
WORDS = {"and", "or", "unless", "bool", "offset"}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SystemExit(MISSING)
    return found


def expressions() -> dict[str, str]:
    """Every query of the dashboard and every rule by its name."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        found |= {rule.get("alert") or rule["record"]: rule["expr"] for rule in group["rules"]}
    return found


def metric_names() -> set[str]:
    """What the application must tell for all of them."""
    texts = [BESIDE.sub(" ", text) for text in expressions().values()]
    return {name for text in texts for name in NAME.findall(text)} - WORDS


class Prometheus:
    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **query: str) -> Any:  # Any: JSON
        with urlopen(f"http://{HOST}:{self.port}{path}?{urlencode(query)}", timeout=5) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[Any]:
        """The series of an expression now, those that are no number left out."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [series for series in found if series["value"][1] != "NaN"]

    def targets_up(self) -> int:
        return len(self.query("up == 1"))

    def is_ready(self) -> bool:
        try:
            self.get("/api/v1/status/buildinfo")
        except (URLError, OSError):
            return False
        return True


@asynccontextmanager
async def asking(folder: Path, ports: list[int]) -> AsyncIterator[Prometheus]:
    """The shipped configuration with other targets, and a second between two scrapes."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(FOLDER / "alerts.yml")]
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [f"{HOST}:{port}" for port in ports]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            *(f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            *(f"--web.listen-address={HOST}:{port}", "--log.level=warn"),
            stderr=log,
        )
    prometheus = Prometheus(port)
    try:
        if await until(prometheus.is_ready, READY_SECONDS) > READY_SECONDS:
            raise RuntimeError((folder / "prometheus.log").read_text(encoding="utf-8"))
        yield prometheus
    finally:
        await stop(process)
