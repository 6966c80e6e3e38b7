"""What a Redis says that is there and does not serve: each of its error replies, and bytes of no use."""

import re
from collections.abc import Callable

from quality.testkit.proxy import FaultProxy

Break = Callable[[FaultProxy], None]

COMMAND = re.compile(rb"^\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n", re.MULTILINE)
HANDSHAKE = {b"CLIENT", b"SELECT", b"AUTH"}


def saying(line: bytes) -> Break:
    """Every command gets this answer, but for those by which a client introduces itself."""

    def reply(data: bytes) -> bytes:
        commands = COMMAND.findall(data)
        return b"".join(b"+OK\r\n" if name.upper() in HANDSHAKE else line for name in commands)

    return lambda proxy: proxy.reply_with(reply)


def saying_to_all(line: bytes) -> Break:
    """Nobody gets as far as to introduce himself."""
    return lambda proxy: proxy.reply_with(lambda data: line * len(COMMAND.findall(data)))


REPLIES: dict[str, Break] = {
    "cut mid-reply": lambda proxy: proxy.cut_after(3),
    "garbage": FaultProxy.garble,
    "another protocol": saying_to_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "the wrong shape": saying(b"+OK\r\n"),
    "OOM": saying(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    "READONLY": saying(b"-READONLY You can't write against a read only replica.\r\n"),
    "LOADING": saying(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "NOAUTH": saying_to_all(b"-NOAUTH Authentication required.\r\n"),
    "WRONGTYPE": saying(b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    "MISCONF": saying(b"-MISCONF Redis is configured to save RDB snapshots\r\n"),
    "max clients": lambda proxy: proxy.turn_away(b"-ERR max number of clients reached\r\n"),
}
# An error reply to one command: Redis is there, so the breaker has nothing to say. The calls that fail are told instead.
REFUSALS = {"OOM", "READONLY", "WRONGTYPE", "MISCONF"}
# The caches take this for an entry that is not theirs: a miss and no failure. So the breaker sees now one, now the other.
UNDECIDED = {"the wrong shape"}
