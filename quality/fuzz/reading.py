"""What the server's own parser makes of bytes: how many requests they are, and where it stops."""

from dataclasses import dataclass, field

import httptools


@dataclass
class Reading:
    """``methods`` of the requests whose head is complete, of which ``complete`` have their body too.

    ``is_broken``: what follows is refused by the parser.
    """

    methods: list[str] = field(default_factory=list)
    complete: int = 0
    is_broken: bool = False

    @property
    def heads(self) -> list[bool]:
        """For each response that may come, whether it is one to HEAD and has no body."""
        return [method == "HEAD" for method in self.methods] + [False] * self.is_broken


class _Listener:
    """Fails where uvicorn's protocol would fail."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.url = b""

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        httptools.parse_url(self.url).path.decode("ascii")
        self.reading.methods.append(self.parser.get_method().decode("ascii"))

    def on_message_complete(self) -> None:
        self.reading.complete += 1


def read(raw: bytes) -> Reading:
    listener = _Listener()
    try:
        listener.parser.feed_data(raw)
    except httptools.HttpParserUpgrade as end:
        # Answered like any other request; what follows is not read, or refused if it comes later.
        listener.reading.is_broken = end.args[0] < len(raw)
    except httptools.HttpParserError:
        listener.reading.is_broken = True
    return listener.reading
