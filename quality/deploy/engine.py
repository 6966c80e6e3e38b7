"""Stands for ``docker`` in a release drill: the commands that deploy.sh gives, done with processes of this machine.

``DRILL`` names a file with the ports and variables. What a tag does, its name says: see ``changes``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from quality.testkit.nginx import program
from quality.testkit.server import HOST, ROOT, alembic, uvicorn

STOP_SECONDS = 40


def main(arguments: list[str]) -> int:
    drill = json.loads(Path(os.environ["DRILL"]).read_text(encoding="utf-8"))
    _, *words = arguments
    tags: dict[str, str] = {}
    while words[0] == "--env-file":
        lines = Path(words[1]).read_text(encoding="utf-8").split()
        tags |= dict(line.partition("=")[::2] for line in lines)
        words = words[2:]
    engine = Engine(drill, tags)
    command, *rest = [word for word in words if not word.startswith("--") or "exec" in words]
    return int(getattr(engine, command)(*rest) or 0)


class Engine:
    def __init__(self, drill: dict[str, Any], tags: dict[str, str]) -> None:
        self.drill = drill
        self.tags = tags
        self.folder = Path(drill["folder"])

    def pull(self, service: str) -> int:
        return int(self.tag(service) == "gone")

    def run(self, service: str) -> int:
        if self.tag(service) == "cannot-migrate":
            return 1
        alembic(self.environment(service), "upgrade", "head")
        return 0

    def up(self, *services: str) -> None:
        for service in services:
            if service in {"caddy", "nginx"} and (service == "caddy" or self.is_alive("nginx")):
                continue
            self.stop(service)
            log = (self.folder / f"{service}.log").open("ab")
            process = subprocess.Popen(
                self.command(service),
                env=self.environment(service),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
            self.pid(service).write_text(str(process.pid), encoding="ascii")

    def stop(self, service: str) -> None:
        if self.is_alive(service):
            number = int(self.pid(service).read_text(encoding="ascii"))
            os.kill(number, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while self.is_alive(service) and time.monotonic() < deadline:
                time.sleep(0.05)

    def ps(self, *words: str) -> None:
        if self.is_alive(words[-1]):
            print(self.pid(words[-1]).read_text(encoding="ascii"))

    def exec(self, *words: str) -> int:
        service, *command = [word for word in words if word != "-T"]
        if service == "nginx":
            self.write_upstream()
            if "reload" in command and "cannot-reload" in self.tags.values():
                return 1
            done = subprocess.run([*self.nginx(), *command[1:]], check=False)
            if "reload" in command and "interrupted" in self.tags.values():
                os.kill(os.getppid(), signal.SIGTERM)  # deploy.sh, once nginx reads what it wrote
            return done.returncode
        if not self.is_alive(service):
            return 1
        environment = self.environment(service)
        return subprocess.run(
            [sys.executable, *command[1:]], env=environment, check=False
        ).returncode

    def command(self, service: str) -> list[str]:
        if service == "nginx":
            self.write_upstream()
            return [*self.nginx(), "-g", "daemon off;"]
        if service == "worker":
            return [sys.executable, "-m", "app.cli", "worker"]
        return uvicorn(self.drill["ports"][service], "--timeout-keep-alive", "75")

    def nginx(self) -> list[str]:
        return [program(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def write_upstream(self) -> None:
        """What deploy.sh has written, with the ports in place of the names of containers."""
        text = (self.folder / "vm" / "upstream.conf").read_text(encoding="utf-8")
        for service, port in self.drill["ports"].items():
            text = text.replace(f"{service}:8000", f"{HOST}:{port}")
        (self.folder / "upstream.conf").write_text(text, encoding="utf-8")

    def environment(self, service: str) -> dict[str, str]:
        given: dict[str, str] = self.drill["environment"]
        port = str(self.drill["ports"].get(service, ""))
        changed = changes(self.tag(service)) if service.startswith("app_") else {}
        return {**given, "PORT": port, **changed}

    def tag(self, service: str) -> str:
        name = service.removeprefix("app_").upper()
        return self.tags.get(f"{name}_TAG", "")

    def pid(self, service: str) -> Path:
        return self.folder / f"{service}.process"

    def is_alive(self, service: str) -> bool:
        try:
            stat = Path(f"/proc/{self.pid(service).read_text(encoding='ascii')}/stat").read_text(
                encoding="ascii"
            )
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"


def changes(tag: str) -> dict[str, str]:
    """What is wrong with a release of this name."""
    return {
        "crashes": {"JWT_ALGORITHM": "none"},
        "never-ready": {"DATABASE_URL": f"postgresql://nobody@{HOST}:1/nothing"},
    }.get(tag, {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
