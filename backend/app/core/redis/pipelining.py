"""Automatic pipelining: while one batch of commands is on its way, the next ones gather and are sent together after it.

Relies on redis-py 8.1: every command that is not in a pipeline of its own goes through ``execute_command``, its reply is
read by ``parse_response``, and a connection that cannot be used any more has disconnected itself.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


class BatchFailed(RedisConnectionError):
    """The connection failed; another command of the batch was told why."""


@dataclass(eq=False, slots=True)
class Command:
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    reply: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def answer(self, reply: Any) -> None:
        """With an exception as well: it is raised by whoever waits, and by nobody where nobody does."""
        if not self.reply.done():
            self.reply.set_result(reply)


class Batch:
    """Commands that share one connection, one write and one read."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.exchange: asyncio.Task[None] | None = None

    def waiting(self) -> list[Command]:
        return [command for command in self.commands if not command.reply.done()]


class PipeliningClient(Redis):
    """redis-py's client, without its retries. Replies come in the order of the commands, so none meets another command.

    A command that is cancelled leaves its batch; the last one to leave takes the connection along. A command that waits for
    something (BLPOP) would make all others wait: it needs a client of its own.
    """

    _gathering: Batch | None = None
    _is_sending = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        batch = self._gathering = self._gathering or Batch()
        command = Command(args, options)
        batch.commands.append(command)
        if not self._is_sending:
            self._send(batch)
        try:
            reply = await command.reply
        except asyncio.CancelledError:
            if command.reply.cancelled() and batch.exchange and not batch.waiting():
                batch.exchange.cancel()
            raise
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _send(self, batch: Batch) -> None:
        self._is_sending = True
        batch.exchange = asyncio.create_task(self._exchange(batch))
        batch.exchange.add_done_callback(self._sent)

    def _sent(self, exchange: asyncio.Task[None]) -> None:
        self._is_sending = False
        if self._gathering and self._gathering.waiting():
            self._send(self._gathering)

    async def _exchange(self, batch: Batch) -> None:
        """Send the commands and answer each. Of a failure that concerns all of them, the first is told the cause."""
        self._gathering = None  # commands of the same moment came along
        pool: Any = self.connection_pool
        try:
            connection = await pool.get_connection()
            try:
                await self._converse(connection, batch.waiting())
            finally:
                await pool.release(connection)
        except Exception as exc:  # noqa: BLE001  raised by whoever waits
            for told, command in enumerate(batch.waiting()):
                command.answer(BatchFailed() if told else exc)

    async def _converse(self, connection: Any, commands: list[Command]) -> None:
        sent: list[Command] = []
        packed: list[bytes] = []
        for command in commands:
            try:
                packed += connection.pack_command(*command.arguments)
                sent.append(command)
            except Exception as exc:  # noqa: BLE001  its own: it cannot be sent
                command.answer(exc)
        await connection.send_packed_command(packed)
        for command in sent:
            name = command.arguments[0]
            try:
                command.answer(await self.parse_response(connection, name, **command.options))
            except Exception as exc:
                if not connection.is_connected:
                    raise
                command.answer(exc)
