"""Processes that are forked off after logging was configured: each writes its own records, once, and nobody else's."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fixtures.server import server_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

CHILDREN = 3
RECORDS = 200
# As gunicorn does with --preload: the application is made, then forked, and each child has a loop of its own.
SERVE = """
import asyncio, logging, os, sys
from app.main import app

async def ask():
    async def receive():
        return {"type": "http.disconnect"}
    async def send(message):
        pass
    for number in range(RECORDS):
        scope = {"type": "http", "method": "GET", "path": f"/{NAME}-{number}", "headers": [], "query_string": b"",
                 "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
        await app(scope, receive, send)
"""
LOG = """
import logging, os, sys
from app.core.config import get_settings
from app.core.logging import configure_logging

configure_logging(get_settings())

def say(name):
    for number in range(RECORDS):
        logging.warning("said", extra={"path": f"/{name}-{number}"})
"""
FORK = """
for child in range(CHILDREN):
    if os.fork() == 0:
        RUN
        sys.exit(0)
for child in range(CHILDREN):
    os.wait()
"""
WAYS = {
    "preloaded": SERVE + FORK.replace("RUN", "NAME = child; asyncio.run(ask())"),
    "forked": LOG + FORK.replace("RUN", "say(child)"),
    "forked while records are queued": LOG
    + 'say("parent")\n'
    + FORK.replace("RUN", "say(child)")
    + 'say("late")\n',
    "forked twice": LOG
    + FORK.replace("RUN", "say(child); exec('if os.fork() == 0: say(f\"{child}{child}\")\\nelse: os.wait()')"),
    "multiprocessing": LOG
    + "import multiprocessing\nfork = multiprocessing.get_context('fork')\n"
    + "children = [fork.Process(target=say, args=(child,)) for child in range(CHILDREN)]\n"
    + "for child in children: child.start()\nfor child in children: child.join()\n",
}  # fmt: skip
MORE = {
    "forked while records are queued": ["parent", "late"],
    "forked twice": ["00", "11", "22"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_record_of_every_process_is_written_once(way: str, tmp_path: Path) -> None:
    output = tmp_path / "log"
    code = f"CHILDREN, RECORDS = {CHILDREN}, {RECORDS}\n{WAYS[way]}"

    with output.open("ab") as file:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=server_environment(),
            stdout=file,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )

    names = [*map(str, range(CHILDREN)), *MORE.get(way, [])]
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert ended.returncode == 0, ended.stderr
    assert Counter(line["path"] for line in lines if "path" in line) == {
        f"/{name}-{number}": 1 for name in names for number in range(RECORDS)
    }
