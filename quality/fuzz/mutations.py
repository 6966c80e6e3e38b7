"""Ways to spoil bytes, whatever they mean: each takes dice, a request and another one, and gives what is sent.

A mutation draws from the dice alone, for a case must be found again by its number.
"""

import re
from collections.abc import Callable
from random import Random

from quality.fuzz.dictionary import TOKENS
from quality.fuzz.http_parts import piece, place

Mutation = Callable[[Random, bytes, bytes], bytes]

# A JSON string, the value of a form field, a segment of a path, a number.
VALUE = re.compile(rb'"[^"\r\n]*"|(?<==)[^&\s]+|(?<=/)[^/\s?]+|\d+')


def flip_bits(dice: Random, raw: bytes, other: bytes) -> bytes:
    mutated = bytearray(raw)
    for _ in range(dice.choice((1, 1, 1, 2, 8)) if raw else 0):
        mutated[dice.randrange(*place(dice, raw))] ^= 1 << dice.randrange(8)
    return bytes(mutated)


def put_any_byte(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(dice, raw)
    return raw[:start] + dice.randbytes(end - start) + raw[end:]


def delete(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(dice, raw)
    return raw[:start] + raw[end:]


def repeat(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(dice, raw)
    return raw[:end] + raw[start:end] * dice.choice((1, 1, 2, 10, 100)) + raw[end:]


def truncate(dice: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)]


def splice(dice: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)] + other[dice.randrange(len(other) + 1) :]


def pipeline(dice: Random, raw: bytes, other: bytes) -> bytes:
    return raw + other


def insert_token(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, _ = piece(dice, raw)
    return raw[:start] + dice.choice(TOKENS) + raw[start:]


def replace_by_token(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(dice, raw)
    return raw[:start] + dice.choice(TOKENS) + raw[end:]


def replace_a_value(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = dice.choice([match.span() for match in VALUE.finditer(raw)] or [(0, 0)])
    return raw[:start] + dice.choice(TOKENS) + raw[end:]


def encode_percent(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = piece(dice, raw)
    return raw[:start] + b"".join(b"%%%02x" % byte for byte in raw[start:end]) + raw[end:]


def swap_case(dice: Random, raw: bytes, other: bytes) -> bytes:
    start, end = place(dice, raw)
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
