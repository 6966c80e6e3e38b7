"""Where the application runs that is attacked: in this process, or as production starts it, in one of its own."""

import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.app_factory import create_app
from app.core.config import Settings
from app.core.logging import JsonFormatter
from app.db.session import SessionFactory, build_engine, build_session_factory
from quality.testkit.server import serving
from quality.testkit.services import settings_of
from tests.fixtures.env import make_settings
from tests.fixtures.live import HOST, live

FORWARDED_ALLOW_IPS = "--forwarded-allow-ips"
# A process of its own does nothing but respond. This one also sends, and has the garbage of other tests to collect.
SLACK = 5


class Log:
    """What a server has written; ``take`` gives each line once."""

    taken = 0

    @property
    def text(self) -> str:
        raise NotImplementedError

    def take(self) -> str:
        """The complete lines since this was last asked."""
        text = self.text
        new = text[self.taken : text.rfind("\n") + 1]
        self.taken += len(new)
        return new


@dataclass
class LogFile(Log):
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")


class LogOfThisProcess(Log, logging.Handler):
    """The records of every application in this process, from INFO on, as lines."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)}\n")

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def install(self) -> None:
        """Be the only handler: each application that is made brings its own."""
        root = logging.getLogger()
        root.handlers = [self]
        root.setLevel(logging.INFO)

    @contextmanager
    def installed(self) -> Iterator[None]:
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        try:
            yield
        finally:
            root.handlers = handlers
            root.setLevel(level)


@dataclass
class Host:
    """A server on a port of loopback. ``slack`` times the processor time of a process of its own is at once here."""

    port: int
    settings: Settings
    sessions: SessionFactory
    log: Log
    pid: int
    slack: int = 1

    def events(self, message: str) -> list[dict[str, Any]]:
        """Its log records with this message. Raises ``ValueError`` for a line that is no JSON."""
        records = map(json.loads, self.log.text.splitlines())
        return [record for record in records if record["message"] == message]


@asynccontextmanager
async def in_process(
    engine: AsyncEngine, log: LogOfThisProcess, environment: dict[str, str], *options: str
) -> AsyncIterator[Host]:
    """On the database of the tests unless the environment names one, behind the HTTP parser of production."""
    changes = {name.lower(): value for name, value in environment.items()}
    app = create_app(make_settings(**changes))
    if "DATABASE_URL" not in environment:
        app.state.session_factory = build_session_factory(engine, app.state.cache.delete)
    log.install()
    trusted = dict(zip(options[::2], options[1::2], strict=True)).get(FORWARDED_ALLOW_IPS, HOST)
    async with live(app, trusted=trusted) as server:
        sessions = app.state.session_factory
        yield Host(server.port, app.state.settings, sessions, log, os.getpid(), SLACK)
    if app.state.redis is not None:
        await app.state.redis.aclose()
    if app.state.engine is not None:
        await app.state.engine.dispose()


@asynccontextmanager
async def in_its_own_process(
    folder: Path, environment: dict[str, str], *options: str
) -> AsyncIterator[Host]:
    settings = settings_of(environment)
    engine = build_engine(settings)
    async with serving(folder, environment, *options) as server:
        sessions = build_session_factory(engine)
        yield Host(server.port, settings, sessions, LogFile(server.log), server.process.pid)
    if engine is not None:
        await engine.dispose()
