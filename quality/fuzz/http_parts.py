"""The parts of a request, as bytes."""

import re
from random import Random

END = b"\r\n\r\n"
LENGTH = re.compile(rb"(?i)(content-length: *)\d+")


def parts(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The first line, the header lines and the body."""
    head, _, body = raw.partition(END)
    line, *headers = head.split(b"\r\n")
    return line, headers, body


def joined(line: bytes, headers: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join([line, *headers]) + END + body


def right_length(raw: bytes) -> bytes:
    """The request with the Content-Length of what follows its head."""
    body = raw.partition(END)[2]
    return LENGTH.sub(rb"\g<1>%d" % len(body), raw, count=1)


def place(rng: Random, raw: bytes) -> tuple[int, int]:
    """Where to mutate: somewhere, in the first line, the headers, the token or the body.

    Weighted, because most bytes are the token's and most code reads the body.
    """
    first, token, body = raw.find(b"\r\n"), raw.find(b"Bearer "), raw.find(END) + len(END)
    spans = [(0, len(raw)), (0, first), (first, body), *[(body, len(raw))] * 4]
    if token >= 0:
        spans.append((token, raw.find(b"\r\n", token)))
    return rng.choice([(start, end) for start, end in spans if 0 <= start < end] or [(0, len(raw))])


def piece(rng: Random, raw: bytes) -> tuple[int, int]:
    """A short part of such a place."""
    start, end = place(rng, raw)
    first = rng.randrange(start, max(end, start + 1))
    return first, min(end, first + rng.choice((1, 1, 2, 8, 64)))
