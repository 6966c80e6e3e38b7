"""Secrets that are looked up: random from the system, and more than anybody can guess."""

import os

import pytest

from app.auth import opaque
from app.db.types import uuid7

FEWEST_BYTES = 16  # 128 bits, as ASVS 11.5.1 asks


def test_each_secret_has_128_random_bits_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    monkeypatch.setattr(os, "urandom", urandom)
    token = opaque.new(uuid7())

    assert (token.family, token.secret) == (bytes(16), bytes(32))
    assert asked[-2:] == [16, 32]
    assert min(opaque.FAMILY_BYTES, opaque.SECRET_BYTES) >= FEWEST_BYTES
