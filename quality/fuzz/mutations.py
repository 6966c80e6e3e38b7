"""Ways to mutate bytes, whatever they mean: each takes a seeded random, a request and another one, and gives what is sent.

A mutation draws from the random alone, for a case must be found again by its number.
"""

import re
from collections.abc import Callable
from random import Random

from quality.fuzz.dictionary import TOKENS
from quality.fuzz.http_parts import piece, place

Mutation = Callable[[Random, bytes, bytes], bytes]

# A JSON string, the value of a form field, a segment of a path, a number.
VALUE = re.compile(rb'"[^"\r\n]*"|(?<==)[^&\s]+|(?<=/)[^/\s?]+|\d+')


def flip_bits(rng: Random, raw: bytes, other: bytes) -> bytes:
    mutated = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 8)) if raw else 0):
        mutated[rng.randrange(*place(rng, raw))] ^= 1 << rng.randrange(8)
    return bytes(mutated)


def put_any_byte(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(rng, raw)
    return raw[:start] + rng.randbytes(end - start) + raw[end:]


def delete(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(rng, raw)
    return raw[:start] + raw[end:]


def repeat(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(rng, raw)
    return raw[:end] + raw[start:end] * rng.choice((1, 1, 2, 10, 100)) + raw[end:]


def truncate(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def splice(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1) :]


def pipeline(rng: Random, raw: bytes, other: bytes) -> bytes:
    return raw + other


def insert_token(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, _ = piece(rng, raw)
    return raw[:start] + rng.choice(TOKENS) + raw[start:]


def replace_by_token(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(rng, raw)
    return raw[:start] + rng.choice(TOKENS) + raw[end:]


def replace_a_value(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = rng.choice([match.span() for match in VALUE.finditer(raw)] or [(0, 0)])
    return raw[:start] + rng.choice(TOKENS) + raw[end:]


def encode_percent(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(rng, raw)
    return raw[:start] + b"".join(b"%%%02x" % byte for byte in raw[start:end]) + raw[end:]


def swap_case(rng: Random, raw: bytes, other: bytes) -> bytes:
    start, end = place(rng, raw)
    return raw[:start] + raw[start:end].swapcase() + raw[end:]


ANYWHERE: tuple[Mutation, ...] = (
    flip_bits,
    put_any_byte,
    delete,
    repeat,
    truncate,
    splice,
    pipeline,
    insert_token,
    replace_by_token,
    replace_a_value,
    encode_percent,
    swap_case,
)
