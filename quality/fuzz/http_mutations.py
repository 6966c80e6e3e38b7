"""Ways to mutate a request that know what HTTP is: its first line, its headers, its length, its limits."""

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


def add_header(rng: Random, raw: bytes, other: bytes) -> bytes:
    line, headers, body = parts(raw)
    headers.insert(rng.randrange(len(headers) + 1), rng.choice(HEADER_LINES))
    return joined(line, headers, body)


def add_parameter(rng: Random, raw: bytes, other: bytes) -> bytes:
    """To the type of the body, whatever the type is."""
    return CONTENT_TYPE.sub(lambda found: found[0] + rng.choice(PARAMETERS), raw, count=1)


def move_headers(rng: Random, raw: bytes, other: bytes) -> bytes:
    """In another order, one missing, all of them twice or those of the other request too."""
    line, headers, body = parts(raw)
    headers += rng.choice(([], parts(other)[1], headers))
    rng.shuffle(headers)
    return joined(line, headers[rng.randrange(2) :], body)


def change_method(rng: Random, raw: bytes, other: bytes) -> bytes:
    return rng.choice(METHODS) + raw[max(raw.find(b" "), 0) :]


def change_version(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw.replace(b"HTTP/1.1", rng.choice(VERSIONS), 1)


def end_lines_otherwise(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw.replace(b"\r\n", rng.choice(LINE_ENDS), rng.choice((1, 2, -1)))


def lie_about_length(rng: Random, raw: bytes, other: bytes) -> bytes:
    return LENGTH.sub(rb"\g<1>" + rng.choice(LENGTHS), raw)


def send_in_chunks(rng: Random, raw: bytes, other: bytes) -> bytes:
    """Chunked, rightly or not: odd sizes, extensions, trailers, a size that lies, no end."""
    line, headers, body = parts(raw)
    chunks = []
    while body:
        size = rng.choice((1, 3, 16, 64, 1_000))
        chunk, body = body[:size], body[size:]
        shown = b"%x" % len(chunk) if rng.randrange(20) else rng.choice(CHUNK_SIZES)
        chunks.append(shown + rng.choice(CHUNK_EXTENSIONS) + b"\r\n" + chunk + b"\r\n")
    headers = [header for header in headers if not LENGTH.match(header)]
    headers.append(b"Transfer-Encoding: chunked")
    return joined(line, headers, b"".join(chunks) + rng.choice(CHUNK_ENDS))


def lengthen_url(rng: Random, raw: bytes, other: bytes) -> bytes:
    query = b"?" + b"x" * (MAX_URL_BYTES - rng.randrange(-300, 300))
    return raw.replace(b" HTTP", query + b" HTTP", 1)


def lengthen_head(rng: Random, raw: bytes, other: bytes) -> bytes:
    """One header, or their number, about as far as it may go."""
    line, headers, body = parts(raw)
    if rng.randrange(2):
        headers.append(b"X-Long: " + b"x" * (MAX_HEADER_BYTES - rng.randrange(-900, 900)))
    else:
        number = MAX_HEADERS - rng.randrange(-10, 10)
        headers += [b"X-%d: x" % index for index in range(number)]
    return joined(line, headers, body)


def lengthen_body(rng: Random, raw: bytes, other: bytes) -> bytes:
    """By something, or with spaces to the limit and beyond."""
    line, headers, body = parts(raw)
    if rng.randrange(2):
        body += rng.choice(FILLINGS) * rng.randrange(4_096)
    else:
        body = body.ljust(rng.choice(LARGEST_BODIES) + rng.randrange(2))
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
