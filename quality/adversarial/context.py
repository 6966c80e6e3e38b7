"""Where an attack happens: a running server, people with accounts, and secrets that may never be seen.

An attack is an async function of the context that is registered with ``@attack`` and opens a fresh connection for
everything it sends. It has several variants, each inside ``with context.variant("name"):``, so that a failure names
the one that got through and the others still run. What every answer must look like is in ``expect.py``; what must
be true of the server after each attack, in ``aftermath``.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import asyncpg

from app.core.config import Settings
from quality.adversarial.expect import expect, must
from quality.testkit.client import PIECE, Connection, Headers, Response, message
from quality.testkit.cpu import cpu_seconds
from quality.testkit.server import Server, serving
from quality.testkit.services import PASSWORD, Account, create_accounts, settings_of

TRIES = 5
LOG_TRIES = 500
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
ERRORS = {"ERROR", "CRITICAL"}
HASH = "$2b$"
Run = Callable[["Context"], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """``expected`` is for the documents; ``modules`` asks for the server with rate limit, caches and Redis."""

    id: str
    what: str
    expected: str
    run: Run
    modules: bool = False
    slow: bool = False
    may_log: str = ""


ATTACKS: list[Attack] = []


def attack(
    name: str,
    what: str,
    expected: str,
    *,
    modules: bool = False,
    slow: bool = False,
    may_log: str = "",
) -> Callable[[Run], Run]:
    """Register an attack.

    ``slow`` is left out by ``--quick``. ``may_log`` is a pattern for the messages of the errors that it is meant
    to cause in the log; every other error there, and every traceback, is a failure.
    """

    def register(run: Run) -> Run:
        ATTACKS.append(Attack(name, what, expected, run, modules, slow, may_log))
        return run

    return register


@dataclass
class Stats:
    """What happened in one attack, over all the servers that it used."""

    variants: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Context:
    """One server and those who call it. ``settings`` are the server's own, its signing key included.

    ``marker`` goes into passwords and into what is refused: it must come back in no answer and in no log. It may not
    be put where it is shown by right: the path, an address that is accepted.
    """

    server: Server
    environment: dict[str, str]
    folder: Path
    alice: Account
    bob: Account
    admin: Account
    quick: bool = False
    marker: str = field(default_factory=lambda: f"marker{uuid4().hex}")
    tally: Stats = field(default_factory=Stats)
    _judged: int = field(default=0, init=False)
    _open: list[Connection] = field(default_factory=list, init=False)

    @property
    def settings(self) -> Settings:
        return settings_of(self.environment)

    @property
    def database_url(self) -> str:
        return self.environment["DATABASE_URL"]

    @cached_property
    def secrets(self) -> dict[str, str]:
        """What no answer and no log may show."""
        return {
            "marker": self.marker,
            "password": PASSWORD,
            "signing key": self.environment["JWT_SECRET_KEY"],
            "hash of a password": HASH,
        }

    @contextmanager
    def variant(self, name: str) -> Iterator[None]:
        """One way to try it. What goes wrong inside is noted under this name."""
        self.tally.variants += 1
        with self._noted(name):
            yield

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  it is a failure of this variant alone
            self.tally.failures.append(f"{name}: {type(error).__name__}: {error}")

    @asynccontextmanager
    async def another(
        self, *options: str, may_log: str = "", **changes: str
    ) -> AsyncIterator["Context"]:
        """The same people before another server, on the same database, with these variables changed."""
        environment = {**self.environment, **changes}
        async with serving(self.folder, environment, *options) as server:
            other = replace(self, server=server, environment=environment)
            yield other
            await other.postconditions(may_log)

    async def account(self, *, is_superuser: bool = False, is_active: bool = True) -> Account:
        """Somebody new, for what an attack does to an account."""
        [account] = await create_accounts(
            self.database_url, somebody(), is_superuser=is_superuser, is_active=is_active
        )
        return account

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the attack's own, to change and to see what no endpoint does."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    # What can be sent. Every call opens a connection of its own.

    def connect(self, token: str = "") -> Connection:
        """A fresh connection, for what takes more than one exchange. It is closed after the attack."""
        connection = Connection(self.server.port, token)
        self._open.append(connection)
        return connection

    async def send(self, raw: bytes, *, head: bool = False) -> Response:
        """The answer to exactly these bytes."""
        pieces = (raw[start : start + PIECE] for start in range(0, len(raw), PIECE))
        return await self.stream(pieces, head=head)

    async def stream(self, pieces: Iterable[bytes], *, head: bool = False) -> Response:
        """The answer to these bytes, sent until they end or the server answers: it may refuse early."""
        response = await Connection(self.server.port).exchange(pieces, head=head)
        shown = repr(response.headers).encode() + response.body
        for what, secret in self.secrets.items():
            must(secret.encode() not in shown, f"the answer shows the {what}")
        return response

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        token: str = "",
    ) -> Response:
        """The answer to a request with Host, the token if there is one, and the length of the body if there is one."""
        raw = message(method, target, headers, body, token)
        return await self.send(raw, head=method == "HEAD")

    async def get(self, target: str, token: str = "", headers: Headers = ()) -> Response:
        return await self.request("GET", target, headers, token=token)

    async def post_json(self, target: str, body: bytes | object, token: str = "") -> Response:
        """POST a value as JSON; bytes are sent as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request("POST", target, [JSON], raw, token)

    async def register(self, email: str, password: str) -> Response:
        return await self.post_json("/api/v1/users", {"email": email, "password": password})

    async def login(self, username: str, password: str) -> Response:
        return await self.login_raw(urlencode({"username": username, "password": password}))

    async def login_raw(self, form: str) -> Response:
        """Log in with a form that is encoded already."""
        return await self.request("POST", "/auth/login", [FORM], form.encode())

    async def within(self, seconds: float, send: Callable[[], Awaitable[Response]]) -> Response:
        """The first answer that costs the server no more processor time than this.

        A clock on the wall would tell how busy the machine is. Nor is the first try alone believed: the server may
        have had something else to do.
        """
        pid, costs = self.server.process.pid, list[float]()
        for _ in range(TRIES):
            before = cpu_seconds(pid)
            response = await send()
            costs.append(cpu_seconds(pid) - before)
            if costs[-1] <= seconds:
                break
        must(costs[-1] <= seconds, f"{min(costs):.2f} s of work at least, not {seconds}")
        return response

    # What must be true afterwards.

    async def postconditions(self, may_log: str = "") -> None:
        """Note a failure unless the server answers, and has logged JSON without errors, tracebacks and secrets."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        with self._noted("afterwards"):
            await self.settled()
            text = self._new_text()
            tokens = {
                f"token of {who.email}": who.token for who in (self.alice, self.bob, self.admin)
            }
            for what, secret in (self.secrets | tokens).items():
                must(secret not in text, f"the log shows the {what}")
            for line in text.splitlines():
                check(json.loads(line), may_log)

    async def settled(self) -> None:
        """GET /health is 200, and its log record has arrived, and so has everything before it."""
        mark = uuid4().hex
        response = await self.get("/health", headers=[("X-Request-ID", mark)])
        expect(response, 200)
        for _ in range(LOG_TRIES):
            if mark in self.server.text:
                return
            await asyncio.sleep(0.01)
        must(False, "the log does not arrive")

    def _new_text(self) -> str:
        """What the server has logged since this was last asked."""
        with self.server.log.open("rb") as file:
            file.seek(self._judged)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._judged += len(complete)
        return complete.decode("utf-8")


def somebody() -> str:
    """An address that nobody has yet."""
    return f"{uuid4().hex}@somebody.example"


def check(record: dict[str, Any], may_log: str) -> None:
    """Raise for a record that no request may cause, unless its message is an expected one."""
    bad = record["level"] in ERRORS or "exception" in record
    expected = bool(may_log) and re.search(may_log, record["message"]) is not None
    must(not bad or expected, f"the log has: {record['message']} {record.get('exception', '')}")
