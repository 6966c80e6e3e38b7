"""A client that sends exactly the bytes it is told to, over one kept-alive connection."""

import asyncio
import json
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quality.testkit.server import HOST

ANSWER_SECONDS = 30
PIECE = 65_536
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """What came back. Names of ``headers`` are in lower case, in the order in which they came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """Opens itself when it is first used, and again after it was ended. ``source`` is the address that it comes from."""

    def __init__(
        self, port: int, token: str = "", host: str = HOST, source: str | None = None
    ) -> None:
        self.port = port
        self.host = host
        self.token = token
        self._source = (source, 0) if source else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self.host, self.port, local_addr=self._source
            )
        return self._streams

    def refresh(self) -> None:
        """Open anew for the next request if the server has hung up meanwhile, as it does with who was idle for 5 s."""
        if self._streams is not None and self._streams[0].at_eof():
            self.close()

    async def request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> Response:
        """Send a request with Host, the token if there is one, and the length of the body; its response."""
        await self.send(message(method, target, headers, body, self.token))
        return await self.response(head=method == "HEAD")

    async def get(self, target: str) -> Response:
        return await self.request("GET", target)

    async def post_json(self, target: str, value: object) -> Response:
        kind = ("Content-Type", "application/json")
        return await self.request("POST", target, [kind], json.dumps(value).encode())

    async def send(self, raw: bytes) -> None:
        _, writer = await self.open()
        self._sent = time.perf_counter()
        writer.write(raw)

    async def exchange(self, pieces: Iterable[bytes], *, head: bool = False) -> Response:
        """The response to one request on a fresh connection, sent to its end or until the server has answered.

        What the server says before it hangs up is read even where the sending has failed: an asyncio stream would
        forget it. ``head`` if the response has no body.
        """
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        with socket.socket() as connection:
            connection.setblocking(False)
            if self._source is not None:
                connection.bind(self._source)
            await loop.sock_connect(connection, (self.host, self.port))
            response = read_response(reader, time.perf_counter(), head=head)
            tasks = [
                asyncio.create_task(_receive(connection, reader)),
                asyncio.create_task(_send(connection, pieces)),
            ]
            try:
                return await response
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def response(self, *, head: bool = False) -> Response:
        """The next response. Raises ``IncompleteReadError`` where the server hangs up, ``TimeoutError`` where it is silent."""
        reader, _ = await self.open()
        response = await read_response(reader, self._sent, head=head)
        if (response.header("connection") or "").lower() == "close":
            self.close()
        return response

    def close(self) -> None:
        """Hang up at once, whatever is under way."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _send(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        await asyncio.get_running_loop().sock_sendall(connection, piece)
        await asyncio.sleep(0)  # where there is room, nothing else waits


async def _receive(connection: socket.socket, reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):  # reset: what came before is there
        while data := await asyncio.get_running_loop().sock_recv(connection, PIECE):
            reader.feed_data(data)
    reader.feed_eof()


async def read_response(
    reader: asyncio.StreamReader, sent: float, *, head: bool = False
) -> Response:
    """The next response that ``reader`` brings, to what was sent at ``sent`` on the clock of ``perf_counter``."""
    async with asyncio.timeout(ANSWER_SECONDS):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines if line]
        headers = [(name.lower(), value.strip()) for name, _, value in pairs]
        body = b"" if head else await _read_body(reader, dict(headers))
    return Response(int(first.split()[1]), headers, body, time.perf_counter() - sent)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def message(
    method: str, target: str, headers: Headers = (), body: bytes = b"", token: str = ""
) -> bytes:
    """An HTTP/1.1 request, byte for byte as given: nothing is checked, so that nothing is corrected."""
    pairs = [("Host", HOST), *headers]
    if token:
        pairs.append(("Authorization", f"Bearer {token}"))
    if body:
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
    # surrogateescape: a byte that is no UTF-8 is written in a str as \udc80 to \udcff.
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
