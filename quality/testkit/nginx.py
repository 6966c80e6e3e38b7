"""The shipped proxy profile in front of a server: deploy/nginx/nginx.conf with other ports and another folder."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quality.testkit.server import HOST, ROOT, Server, free_port, stop, until_up

CONFIGURATION = ROOT / "deploy" / "nginx" / "nginx.conf"
MISSING = "nginx is not installed. Debian and Ubuntu: apt-get install nginx-light; macOS: brew install nginx."
# Started by root, the workers are another user, who must reach the folders for bodies.
TRAVERSABLE = 0o711


def local(text: str, port: int, folder: Path) -> str:
    """The configuration with its addresses and paths replaced, and nothing else. Raises if one is not there."""
    replacements = {
        "/tmp/": f"{folder}/",  # noqa: S108  first, because the other paths may contain it
        "/dev/stdout": str(folder / "access.log"),
        "listen 8080;": f"listen {HOST}:{port};",
    }
    for old, new in replacements.items():
        if old not in text:
            raise ValueError(f"{CONFIGURATION.name} has no {old!r}")
        text = text.replace(old, new)
    return text


def program() -> str:
    """Where nginx is, also for those whose PATH has no sbin. Exits where it is not."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("nginx", path=path)
    if found is None:
        raise SystemExit(MISSING)
    return found


def prepare(folder: Path, port: int, application: int) -> list[str]:
    """Write and check the configuration; the command that serves it."""
    folder.chmod(TRAVERSABLE)
    configuration = folder / "nginx.conf"
    shipped = CONFIGURATION.read_text(encoding="utf-8")
    configuration.write_text(local(shipped, port, folder), encoding="utf-8")
    (folder / "upstream.conf").write_text(f"server {HOST}:{application};\n", encoding="utf-8")
    command = [program(), "-p", str(folder), "-c", str(configuration)]
    subprocess.run([*command, "-t", "-q"], check=True)
    return [*command, "-g", "daemon off;"]


@asynccontextmanager
async def nginx(folder: Path, application: int) -> AsyncIterator[Server]:
    """nginx before the application on that port. Its log is the access log."""
    port = free_port()
    command = prepare(folder, port, application)
    with (folder / "error.log").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*command, stderr=errors)
    server = Server(port, process, folder / "access.log")
    try:
        await until_up(server)
        yield server
    finally:
        await stop(process)
