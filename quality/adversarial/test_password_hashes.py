"""Password hashes that are corrupt: they match nothing and raise nothing."""

import logging
import random
import string

import pytest

from app.auth.password import verify_password
from tests.fixtures.env import FAST_HASH_ROUNDS
from tests.fixtures.hashing import recorded_hashing

ROUNDS = FAST_HASH_ROUNDS
# Of "lovelace", and of ten times that.
SHORT_HASH = "$2b$04$nem3X36hGKdse.l172aBDuWfF.goEvOli5sGkgx7khMB7h.8sY7qu"
LONG_HASH = "$bcrypt-sha256$v=2,t=2b,r=4$OEYQuC/dn88IQGPBEMecJu$pOjAUmtbek25.eh94hUrUwTSYDIUNdK"


def verified(password: str, stored: str | None) -> bool:
    return verify_password(password, stored, rounds=ROUNDS)


class TestVerifyPassword:




    @pytest.mark.parametrize(
        "stored",
        [
            None, "", "$", "lovelace", "$2b$", "$2b$04$", "$2b$04$short", "é" * 60, "\ud800", "x" * 5_000,
            SHORT_HASH[:-1], SHORT_HASH + "a", SHORT_HASH + "\n", " " + SHORT_HASH,
            SHORT_HASH.replace("$2b$", "$2x$"), SHORT_HASH.replace("$04$", "$99$"),
            SHORT_HASH.replace("$04$", "$4$"), SHORT_HASH.replace("$04$", "$xx$"),
            SHORT_HASH[:10] + "é" + SHORT_HASH[11:], SHORT_HASH[:10] + "\0" + SHORT_HASH[11:],
            LONG_HASH[:-1], LONG_HASH.replace("v=2", "v=9"), LONG_HASH.replace("r=4", "r=99"),
            LONG_HASH.replace("r=4", "r=x"), LONG_HASH.replace("t=2b", "t=2x"), "$bcrypt-sha256$",
            "{SSHA}x", "$argon2id$v=19$m=65536,t=3,p=4$abc$def", "$pbkdf2-sha256$1$a$b",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("password", ["lovelace", "lovelace" * 10, ""])
    def test_unusable_hash_matches_nothing(self, stored: str | None, password: str) -> None:
        assert not verified(password, stored)

    def test_unusable_hash_is_a_line_in_the_log_that_does_not_show_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)

        verified("lovelace", "$2b$04$short")

        assert caplog.record_tuples == [
            ("app.auth.password", logging.WARNING, "password_hash_malformed")
        ]

    def test_long_password_on_the_hash_of_a_short_one_is_no_complaint(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with recorded_hashing() as looks:
            assert not verified("lovelace" * 10, SHORT_HASH)

        assert [look.cost for look in looks] == [2**ROUNDS]
        assert caplog.records == []

    # passlib repairs unused bits of a hash with a warning; whether it then matches is not the point here.
    @pytest.mark.filterwarnings("ignore:encountered a bcrypt")
    @pytest.mark.parametrize("original", [SHORT_HASH, LONG_HASH])
    def test_no_corruption_of_a_hash_raises(self, original: str) -> None:
        rng = random.Random(20260105)
        rounds_end = original.index("4") + 1  # a damaged cost may be one that takes a day

        for _ in range(100):
            damaged = list(original)
            position = rng.randrange(rounds_end + 1, len(original))
            damaged[position : position + rng.randrange(2)] = rng.choice(string.printable + "é€")
            assert verified("lovelace" * 5, "".join(damaged)) is False
