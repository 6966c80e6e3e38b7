"""Runs shell blocks in a clone of the repository, with an empty environment, as a stranger would who pastes them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.request import urlopen

from quality.testkit.server import HOST, free_port

# To find programs and homes, and to trust the certificates of this machine.
INHERITED = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "SYSTEMROOT")
PATIENCE_SECONDS = 300
DOCKER = re.compile(r"\bdocker\b|\bmake (up|down|logs)\b")
SERVICES = re.compile(r"\b(DATABASE_URL|REDIS_URL)=\S+")
LAST_LINES = 40


class Failure(Exception):
    """What went wrong, with the last lines of what the command has said."""


def bare(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | more


@dataclass
class Shell:
    """``services`` are the values for DATABASE_URL and REDIS_URL, where the caller has both."""

    root: Path
    services: Mapping[str, str]
    port: int = field(default_factory=free_port)

    def run(self, code: str, **variables: str) -> str:
        """Run a block of Bash and return what it says. Raises ``Failure``."""
        command = ["bash", "-e", "-o", "pipefail", "-c", code]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=bare(PORT=str(self.port), **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        if done.returncode != 0:
            said = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
            raise Failure(f"ended with {done.returncode}:\n{said}")
        return done.stdout

    def on_services(self, code: str) -> str:
        """The block with the PostgreSQL and the Redis of the caller in place of those that it names."""
        return SERVICES.sub(lambda found: f"{found[1]}='{self.services[found[1]]}'", code)

    def parse(self, code: str) -> None:
        self.run(f"bash -n <<'END_OF_BLOCK'\n{code}\nEND_OF_BLOCK")

    def serve(self, command: str) -> None:
        """Start what serves until it is stopped, wait for its first response, and stop it."""
        with TemporaryFile() as output, self.started(command, output) as process:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not self.responses():
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read().decode(errors="replace")
                    raise Failure(f"does not serve on port {self.port}:\n{said}")
                time.sleep(0.1)

    @contextmanager
    def started(self, command: str, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        shell = ["bash", "-c", command]
        process = subprocess.Popen(
            shell,
            cwd=self.root,
            env=bare(PORT=str(self.port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if os.name == "posix":  # make, the reloader and the server are one group
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            else:
                process.terminate()
            process.wait(PATIENCE_SECONDS)

    def responses(self) -> bool:
        try:
            with urlopen(f"http://{HOST}:{self.port}/health", timeout=1):
                return True
        except OSError:
            return False
