"""Spoiled bytes over raw sockets, many connections side by side."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from quality.adversarial.expect import AttackSucceeded, must
from quality.fuzz.assertion import check, is_parsers
from quality.fuzz.cases import Case
from quality.fuzz.reading import read
from quality.fuzz.target import Target
from quality.testkit.client import Connection, Response

CONNECTIONS = 24
LIMIT_SECONDS = 20
# For a refusal that does not wait for the body. A server that waits for the rest of a request is in the right.
EARLY_SECONDS = 0.1
PAUSE_SECONDS = 0.002
# Who refuses while more is under way resets the connection, and the response may be lost (RFC 9112, section 9.6).
SURE_TO_BE_READ = 65_536
COMPLAINTS = (AttackSucceeded, ValueError, LookupError, TypeError, AttributeError)


@dataclass
class Findings:
    """Which statuses came back, by whom, and what must not have come."""

    seen: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, Case, str]] = field(default_factory=list)

    def __add__(self, more: "Findings") -> "Findings":
        return Findings(self.seen + more.seen, self.faults + more.faults)


async def send_all(target: Target, cases: Iterable[tuple[int, Case]]) -> Findings:
    """Send every case on a connection of its own, and judge what comes back."""
    findings, left = Findings(), iter(cases)
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send_some(target, left, findings))
    return findings


async def send_some(target: Target, left: Iterator[tuple[int, Case]], findings: Findings) -> None:
    for number, case in left:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await send_one(target, case, findings.seen)
        except TimeoutError:
            findings.faults.append((number, case, f"silence for {LIMIT_SECONDS} s"))
        except COMPLAINTS as complaint:
            findings.faults.append((number, case, f"{type(complaint).__name__}: {complaint}"))


async def send_one(target: Target, case: Case, seen: Counter[str]) -> None:
    """Raise ``AttackSucceeded`` for a wrong answer, for one too few and one too many."""
    reading, connection, answered = read(case.raw), Connection(target.server.port), 0
    try:
        await send(connection, case)
        for head in reading.heads:
            response = await next_response(connection, head, sure=answered < reading.complete)
            if response is None:
                break
            answered += 1
            seen["parser" if is_parsers(response) else str(response.status)] += 1
            check(target, case, reading, response, head=head)
            if response.header("connection") == "close":
                return
        else:
            await nothing_follows(connection)
    finally:
        connection.close()
    owed = max(reading.complete, int(reading.is_broken))
    must(
        answered >= owed or len(case.raw) > SURE_TO_BE_READ,
        f"hung up after {answered} answers to {reading}",
    )


async def send(connection: Connection, case: Case) -> None:
    if case.split:
        await connection.send(case.raw[: case.split])
        await asyncio.sleep(PAUSE_SECONDS)
    await connection.send(case.raw[case.split :])


async def next_response(connection: Connection, head: bool, *, sure: bool) -> Response | None:
    """The next response; ``None`` if the server hangs up. Where none is owed, it is soon told that no more will come."""
    coming = asyncio.create_task(final_response(connection, head))
    try:
        if not sure and not (await asyncio.wait({coming}, timeout=EARLY_SECONDS))[0]:
            await say_no_more(connection)
        return await coming
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    finally:
        coming.cancel()


async def final_response(connection: Connection, head: bool) -> Response:
    while True:
        response = await connection.response(head=head)
        if response.status >= HTTPStatus.OK:  # not 100 Continue
            return response


async def say_no_more(connection: Connection) -> asyncio.StreamReader:
    reader, writer = await connection.open()
    with suppress(OSError):
        writer.write_eof()
    return reader


async def nothing_follows(connection: Connection) -> None:
    """After its responses the server has nothing to say, and hangs up once the client has."""
    reader = await say_no_more(connection)
    with suppress(ConnectionError):
        more = await reader.read()
        must(not more, f"unasked: {more[:300]!r}")
