"""Ways to spoil a request that know what HTTP is: its first line, its headers, its length, its limits."""

import re
from random import Random

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.core.middleware.request_guard import MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES
from quality.fuzz.dictionary import (
    CHUNK_ENDS,
    CHUNK_EXTENSIONS,
    CHUNK_SIZES,
    FILLINGS,
    HEADER_LINES,
    LENGTHS,
    LINE_ENDS,
    METHODS,
    PARAMETERS,
    VERSIONS,
)
from quality.fuzz.http_parts import LENGTH, joined, parts
from quality.fuzz.mutations import Mutation

CONTENT_TYPE = re.compile(rb"(?i)content-type:[^\r\n]*")
# Of the routes that anybody may send one to, and MAX_BODY_BYTES unless it is set.
LARGEST_BODIES = (CREDENTIALS_MAX_BYTES, 1_048_576)


def add_header(dice: Random, raw: bytes, other: bytes) -> bytes:
    line, headers, body = parts(raw)
    headers.insert(dice.randrange(len(headers) + 1), dice.choice(HEADER_LINES))
    return joined(line, headers, body)


def add_parameter(dice: Random, raw: bytes, other: bytes) -> bytes:
    """To the type of the body, whatever the type is."""
    return CONTENT_TYPE.sub(lambda found: found[0] + dice.choice(PARAMETERS), raw, count=1)


def move_headers(dice: Random, raw: bytes, other: bytes) -> bytes:
    """In another order, one missing, all of them twice or those of the other request too."""
    line, headers, body = parts(raw)
    headers += dice.choice(([], parts(other)[1], headers))
    dice.shuffle(headers)
    return joined(line, headers[dice.randrange(2) :], body)


def change_method(dice: Random, raw: bytes, other: bytes) -> bytes:
    return dice.choice(METHODS) + raw[max(raw.find(b" "), 0) :]


def change_version(dice: Random, raw: bytes, other: bytes) -> bytes:
    return raw.replace(b"HTTP/1.1", dice.choice(VERSIONS), 1)


def end_lines_otherwise(dice: Random, raw: bytes, other: bytes) -> bytes:
    return raw.replace(b"\r\n", dice.choice(LINE_ENDS), dice.choice((1, 2, -1)))


def lie_about_length(dice: Random, raw: bytes, other: bytes) -> bytes:
    return LENGTH.sub(rb"\g<1>" + dice.choice(LENGTHS), raw)


def send_in_chunks(dice: Random, raw: bytes, other: bytes) -> bytes:
    """Chunked, rightly or not: odd sizes, extensions, trailers, a size that lies, no end."""
    line, headers, body = parts(raw)
    chunks = []
    while body:
        size = dice.choice((1, 3, 16, 64, 1_000))
        chunk, body = body[:size], body[size:]
        shown = b"%x" % len(chunk) if dice.randrange(20) else dice.choice(CHUNK_SIZES)
        chunks.append(shown + dice.choice(CHUNK_EXTENSIONS) + b"\r\n" + chunk + b"\r\n")
    headers = [header for header in headers if not LENGTH.match(header)]
    headers.append(b"Transfer-Encoding: chunked")
    return joined(line, headers, b"".join(chunks) + dice.choice(CHUNK_ENDS))


def lengthen_url(dice: Random, raw: bytes, other: bytes) -> bytes:
    query = b"?" + b"x" * (MAX_URL_BYTES - dice.randrange(-300, 300))
    return raw.replace(b" HTTP", query + b" HTTP", 1)


def lengthen_head(dice: Random, raw: bytes, other: bytes) -> bytes:
    """One header, or their number, about as far as it may go."""
    line, headers, body = parts(raw)
    if dice.randrange(2):
        headers.append(b"X-Long: " + b"x" * (MAX_HEADER_BYTES - dice.randrange(-900, 900)))
    else:
        number = MAX_HEADERS - dice.randrange(-10, 10)
        headers += [b"X-%d: x" % index for index in range(number)]
    return joined(line, headers, body)


def lengthen_body(dice: Random, raw: bytes, other: bytes) -> bytes:
    """By something, or with spaces to the limit and beyond."""
    line, headers, body = parts(raw)
    if dice.randrange(2):
        body += dice.choice(FILLINGS) * dice.randrange(4_096)
    else:
        body = body.ljust(dice.choice(LARGEST_BODIES) + dice.randrange(2))
    return LENGTH.sub(rb"\g<1>%d" % len(body), joined(line, headers, body), count=1)


HTTP: tuple[Mutation, ...] = (
    add_header,
    add_parameter,
    move_headers,
    change_method,
    change_version,
    end_lines_otherwise,
    lie_about_length,
    send_in_chunks,
    lengthen_url,
    lengthen_head,
    lengthen_body,
)
