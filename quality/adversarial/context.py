"""Where an attack happens: a running server, people with accounts, and secrets that may never be seen.

An attack is an async function of the context, decorated with ``@attack``, that opens a fresh connection for everything it
sends. It has several variants, each inside ``with context.variant("name"):``, so that a failure names
the one that got through and the others still run. What every response must look like is in ``expect.py``; what must
be true of the server after each attack, in ``postconditions``.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy import delete, func, select, update

from app.core.config import LOCAL_JWT_SECRET, Settings
from app.models.user import User
from app.repositories.user import UserRepository
from quality.adversarial.expect import expect, must
from quality.adversarial.hosts import Host
from quality.testkit.client import PIECE, Connection, Headers, Response, message
from quality.testkit.cpu import cpu_seconds
from quality.testkit.memory import resident_mib
from quality.testkit.services import PASSWORD, Account, accounts_in

TRIES = 5
LOG_TRIES = 500
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
ERRORS = {"ERROR", "CRITICAL"}
HASH = "$2b$"
Start = Callable[..., AbstractAsyncContextManager[Host]]


@dataclass
class Stats:
    """What happened in one attack, over all the servers that it used."""

    variants: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Context:
    """One server and those who call it, with ``start`` for another one like it.

    ``marker`` goes into passwords and into what is refused: it must come back in no response and in no log. It may not
    be put where it is shown by right: the path, an address that is accepted.
    """

    server: Host
    start: Start
    environment: dict[str, str]
    folder: Path
    alice: Account
    bob: Account
    admin: Account
    quick: bool = False
    marker: str = field(default_factory=lambda: f"marker{uuid4().hex}")
    stats: Stats = field(default_factory=Stats)
    _open: list[Connection] = field(default_factory=list, init=False)

    @property
    def settings(self) -> Settings:
        """The server's own, its signing key included."""
        return self.server.settings

    @cached_property
    def secrets(self) -> dict[str, str]:
        """What no response and no log may show."""
        return {
            "marker": self.marker,
            "password": PASSWORD,
            "signing key": LOCAL_JWT_SECRET,
            "hash of a password": HASH,
        }

    @contextmanager
    def variant(self, name: str) -> Iterator[None]:
        """One way to try it. What goes wrong inside is noted under this name."""
        self.stats.variants += 1
        with self.noted(name):
            yield

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note under this name what goes wrong inside."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  it is a failure of this variant alone
            self.stats.failures.append(f"{name}: {type(error).__name__}: {error}")

    @asynccontextmanager
    async def another(
        self, *options: str, may_log: str = "", **changes: str
    ) -> AsyncIterator["Context"]:
        """The same people before another server, on the same database, with these variables changed."""
        environment = {**self.environment, **changes}
        async with self.start(environment, *options) as server:
            other = replace(self, server=server, environment=environment)
            yield other
            await other.postconditions(may_log)

    async def account(self, *, is_superuser: bool = False, is_active: bool = True) -> Account:
        """Somebody new, for what an attack does to an account."""
        [account] = await self.accounts(1, is_superuser=is_superuser, is_active=is_active)
        return account

    async def accounts(self, count: int, **state: bool) -> list[Account]:
        addresses = [somebody() for _ in range(count)]
        return await accounts_in(self.server.sessions, self.settings, *addresses, **state)

    async def stored(self, email: str) -> User | None:
        """What the database has of an address."""
        async with self.server.sessions() as session:
            return await UserRepository(session).get_by_email(email)

    async def number_of_accounts(self) -> int:
        async with self.server.sessions() as session:
            return await session.scalar(select(func.count()).select_from(User)) or 0

    async def change(self, account: Account, **columns: object) -> None:
        """Change an account past the application: it knows nothing of it."""
        async with self.server.sessions.begin() as session:
            await session.execute(update(User).where(User.id == account.id).values(columns))

    async def delete(self, account: Account) -> None:
        """The same, for good."""
        async with self.server.sessions.begin() as session:
            await session.execute(delete(User).where(User.id == account.id))

    # What can be sent. Every call opens a connection of its own.

    def connect(self, token: str = "") -> Connection:
        """A fresh connection, for what takes more than one exchange. It is closed after the attack."""
        connection = Connection(self.server.port, token)
        self._open.append(connection)
        return connection

    async def send(self, raw: bytes, *, head: bool = False) -> Response:
        """The response to exactly these bytes."""
        pieces = (raw[start : start + PIECE] for start in range(0, len(raw), PIECE))
        return await self.stream(pieces, head=head)

    async def stream(self, pieces: Iterable[bytes], *, head: bool = False) -> Response:
        """The response to these bytes, sent until they end or the server answers: it may refuse early."""
        response = await Connection(self.server.port).exchange(pieces, head=head)
        shown = repr(response.headers).encode() + response.body
        for what, secret in self.secrets.items():
            must(secret.encode() not in shown, f"the response shows the {what}")
        return response

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        token: str = "",
    ) -> Response:
        """The response to a request with Host, the token if there is one, and the length of the body if there is one."""
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
        """The first response that costs the server no more processor time than this.

        A clock on the wall would tell how busy the machine is. Nor is the first try alone believed: the server may
        have had something else to do.
        """
        pid, costs = self.server.pid, list[float]()
        seconds *= self.server.slack
        for _ in range(TRIES):
            before = cpu_seconds(pid)
            response = await send()
            costs.append(cpu_seconds(pid) - before)
            if costs[-1] <= seconds:
                break
        must(costs[-1] <= seconds, f"{min(costs):.2f} s of work at least, not {seconds}")
        return response

    @contextmanager
    def memory_within(self, mib: int) -> Iterator[None]:
        """What is sent inside leaves the server no larger than this; of a process that does other things, nothing is said."""
        before = resident_mib(self.server.pid)
        yield
        if self.server.pid != os.getpid():
            with self.variant("memory"):
                grown = resident_mib(self.server.pid) - before
                must(grown <= mib, f"{grown:.1f} MiB more")

    # What must be true afterwards.

    async def postconditions(self, may_log: str = "") -> None:
        """Note a failure unless the server answers, and has logged JSON without errors, tracebacks and secrets."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        with self.noted("afterwards"):
            await self.settled()
            text = self.server.log.take()
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
            if mark in self.server.log.text:
                return
            await asyncio.sleep(0.01)
        must(False, "the log does not arrive")


def somebody() -> str:
    """An address that nobody has yet."""
    return f"{uuid4().hex}@somebody.example"


def check(record: dict[str, Any], may_log: str) -> None:
    """Raise for a record that no request may cause, unless its message is an expected one."""
    bad = record["level"] in ERRORS or "exception" in record
    expected = bool(may_log) and re.search(may_log, record["message"]) is not None
    must(not bad or expected, f"the log has: {record['message']} {record.get('exception', '')}")
