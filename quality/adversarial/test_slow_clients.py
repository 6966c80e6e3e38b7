"""Slow clients and the limit on concurrent requests: time spent on their sockets takes no place."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.core.errors import Overloaded
from tests.unit.core.middleware.asgi import body, http_scope, ok, read_all, run
from tests.unit.core.middleware.test_concurrency_limit import (
    LIMIT,
    WORK,
    Gate,
    full,
    limited,
    status,
)


class TestWaitingForTheClient:
    async def test_slow_upload_takes_no_place(self) -> None:
        arrived = asyncio.Event()
        app = limited(read_all)
        sent: list[Message] = []

        async def receive() -> Message:
            await arrived.wait()
            return {"type": "http.request", "body": b"12"}

        async def send(message: Message) -> None:
            sent.append(message)

        uploads = [asyncio.create_task(app(WORK, receive, send)) for _ in range(10 * LIMIT)]
        await asyncio.sleep(0)
        meanwhile = await run(app, WORK, *body(b"1"))
        arrived.set()
        await asyncio.gather(*uploads)

        assert status(meanwhile) == 200
        assert [message["body"] for message in sent[1::2]] == [b"2"] * len(uploads)
        assert app.in_flight == 0

    async def test_slow_download_takes_no_place(self) -> None:
        taken = asyncio.Event()
        app = limited(ok)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await taken.wait()

        downloads = [asyncio.create_task(app(WORK, receive, send)) for _ in range(10 * LIMIT)]
        await asyncio.sleep(0)
        meanwhile = await run(app, WORK)
        taken.set()
        await asyncio.gather(*downloads)

        assert status(meanwhile) == 200
        assert app.in_flight == 0

    async def test_client_that_leaves_in_its_body_is_not_refused(self) -> None:
        gate = Gate()
        arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def upload(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/work":
                await gate(scope, receive, send)
            elif (await receive())["type"] == "http.disconnect":
                await ok(scope, receive, send)

        app = limited(upload)
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        waiting = asyncio.create_task(app(http_scope(path="/up"), lambda: arrived, send))
        await asyncio.sleep(0)
        async with full(app, gate):
            arrived.set_result({"type": "http.disconnect"})
            await waiting

        assert status(sent) == 200
        assert app.rejected.total == 0

    async def test_bodies_that_end_in_the_same_moment_do_not_exceed_the_limit(self) -> None:
        gate = Gate()
        arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def read_and_work(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await gate(scope, receive, send)

        async def receive() -> Message:
            return await asyncio.shield(arrived)

        async def send(message: Message) -> None:
            pass

        app = limited(read_and_work)
        uploads = [asyncio.create_task(app(WORK, receive, send)) for _ in range(10 * LIMIT)]
        await asyncio.sleep(0)
        arrived.set_result({"type": "http.request", "body": b"1"})
        refused, at_work = await asyncio.wait(uploads, timeout=0.05)

        assert app.in_flight == len(at_work) == LIMIT
        assert {type(upload.exception()) for upload in refused} == {Overloaded}
        gate.open.set()
        await asyncio.wait(uploads)
        assert app.in_flight == 0

    async def test_who_has_heard_from_the_client_takes_a_place_again(self) -> None:
        gate = Gate()

        async def hear_and_work(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await gate(scope, receive, send)

        app = limited(hear_and_work)

        async with full(app, gate):
            sent = await run(app, http_scope(path="/other"))

        assert status(sent) == 503


class TestResponseInProgress:
    async def test_stream_takes_a_place_while_it_works(self) -> None:
        gate = Gate()

        async def produce() -> AsyncIterator[bytes]:
            yield b"first"
            await gate.open.wait()

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            # Which waits for the client's leaving beside its work.
            await StreamingResponse(produce())(scope, receive, send)

        app = limited(stream)
        asked = asyncio.Event()

        async def receive() -> Message:
            if not asked.is_set():
                asked.set()
                return {"type": "http.request", "body": b""}
            return await asyncio.Future()

        async def send(message: Message) -> None:
            pass

        streams = [asyncio.create_task(app(WORK, receive, send)) for _ in range(LIMIT)]
        for _ in range(10):
            await asyncio.sleep(0)
        in_flight, refused = app.in_flight, await run(app, WORK)
        gate.open.set()
        await asyncio.gather(*streams)

        assert in_flight == LIMIT
        assert status(refused) == 503
        assert app.in_flight == 0

    async def test_background_work_takes_no_place(self) -> None:
        gate = Gate()

        async def respond_and_work(scope: Scope, receive: Receive, send: Send) -> None:
            await ok(scope, receive, send)
            if scope["path"] == "/work":
                await gate.open.wait()

        app = limited(respond_and_work)

        async with full(app, gate):
            assert app.in_flight == 0
            assert status(await run(app, http_scope(path="/other"))) == 200

    async def test_body_that_is_still_on_its_way_cannot_refuse_it(self) -> None:
        gate, upload_ends = Gate(), asyncio.Event()

        async def respond_first(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/work":
                await gate(scope, receive, send)
                return
            reading = asyncio.create_task(read_all(scope, receive, ignore))
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await reading
            await send({"type": "http.response.body", "body": b""})

        async def ignore(message: Message) -> None:
            pass

        async def receive() -> Message:
            await upload_ends.wait()
            return {"type": "http.request", "body": b"1"}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        app = limited(respond_first)
        early = asyncio.create_task(app(http_scope(path="/early"), receive, send))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with full(app, gate):
            upload_ends.set()
            await early

        assert len(sent) == 2
