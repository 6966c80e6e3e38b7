"""Common passwords are recognised; passwords that merely break a composition rule are not."""

import random
import string
import time

import pytest

from app.auth.common_passwords import DIGEST_BYTES, LISTED, is_guessable, is_listed
from scripts.common_passwords import COUNT, packed

PERSONAL = ("ada.lovelace@example.com", "ada.lovelace", "Acme Shop", "Acme", "Shop")

PATTERNS = [
    "12345678", "123456789", "1234567890", "0987654321", "87654321", "12345679", "abcdefgh", "zyxwvuts",
    "qwertyuiop", "poiuytrewq", "asdfghjkl", "zxcvbnm1", "1qaz2wsx", "!QAZ2wsx", "zaq12wsx", "qazwsxedc",
    "qwer1234", "1234qwer", "abcd1234", "abc12345", "asdf1234", "!@#$%^&*", "QWERTYUI", "qwertz123", "azerty123",
    "1q2w3e4r", "q1w2e3r4t5", "a1b2c3d4", "147258369", "789456123", "123qweasdzxc",
    "11223344", "112233445566", "111222333",
]  # fmt: skip
REPETITIONS = [
    "12341234",
    "123123123",
    "asdasdasd",
    "abababab",
    "testtest",
    "abcdabcda",
    "xyxyxyxyxyxyx",
]
WORDS = [
    "password", "Password", "password1", "password123456", "Passw0rd!", "P@$$w0rd", "p.a.s.s.w.o.r.d", "123password",
    "iloveyou", "ILoveYou!", "i love you", "iloveyou2", "princess", "sunshine1", "football!", "trustno1", "letmein99",
    "admin123", "welcome2024", "qwerty!!!!", "M1n3cr4ft",
]  # fmt: skip
OWN = [
    "ada.lovelace1815", "AdaLovelace!", "ad4l0velace", "ada.lovelace@example.com1", "acmeshop", "Acme-Shop-2024",
    "acme2024", "shop1234567",
]  # fmt: skip
ACCEPTED = [
    "correct horse battery staple", "correct horse", "password manager", "my password is long", "iloveyoubutnotyou",
    "83927461", "01051987", "xkqzvbnw", "T7#mQ2!p", "tr0ub4dor", "ada lovelace was first", "acme shop is closed",
    "sunflowery", "пароль и ключ", "東京特許許可局局長", "🐎🔋📎🌧🎻🧂🦑🪟", "sdfg jklö", "x" * 7 + "y", " padded ",
    "abc def ghi jkl", "a" * 71 + "b", "aA1!" * 20,
]  # fmt: skip


class TestIsGuessable:
    @pytest.mark.parametrize("password", [*PATTERNS, *REPETITIONS, *WORDS, *OWN])
    def test_common_password_is_guessable(self, password: str) -> None:
        assert is_guessable(password, PERSONAL)

    @pytest.mark.parametrize("password", OWN)
    def test_name_of_another_account_is_not_guessable(self, password: str) -> None:
        assert not is_guessable(password, ("grace", "grace@example.com"))

    @pytest.mark.parametrize("password", ACCEPTED)
    def test_other_password_is_not_guessable(self, password: str) -> None:
        assert not is_guessable(password, PERSONAL)

    def test_repeated_block_of_up_to_fifteen_characters_is_guessable(self) -> None:
        assert is_guessable("kz7kz7kz7kz7kz7", PERSONAL)
        assert not is_guessable("kz7kz7kz7kz7kz7k", PERSONAL)

    def test_partly_repeated_block_is_not_guessable(self) -> None:
        assert is_guessable("kz7qkz7qk", PERSONAL)
        assert not is_guessable("kz7qpkz7q", PERSONAL)

    @pytest.mark.parametrize("personal", ["", "1815", "...", "🐎"])
    def test_name_without_letters_is_ignored(self, personal: str) -> None:
        assert not is_guessable("83927461", (personal,))

    @pytest.mark.parametrize("length", [8, 16])
    def test_random_password_is_not_guessable(self, length: int) -> None:
        seeded = random.Random(length)
        letters = string.ascii_lowercase + string.digits

        drawn = ["".join(seeded.choices(letters, k=length)) for _ in range(1_000)]

        assert [password for password in drawn if is_guessable(password, PERSONAL)] == []

    @pytest.mark.parametrize(
        "password",
        ["1" * 127 + "x", "abc" * 42, string.ascii_lowercase * 4, "é1" * 64, "\u0130" * 128],
    )
    def test_longest_password_is_checked_in_less_time_than_its_hash(self, password: str) -> None:
        def judged_seconds() -> float:
            started = time.process_time()
            is_guessable(password, PERSONAL)
            return time.process_time() - started

        assert min(judged_seconds() for _ in range(20)) < 0.01  # measured: 0.2 ms; a hash: 250 ms


# From the beginning, the middle and the end of the list; no rule finds them.
FREQUENT = [
    "hardcore",
    "bigdaddy",
    "marlboro",
    "02051980",
    "04041988",
    "monique1",
    "alphaman",
    "greyhoun",
]


class TestIsListed:
    @pytest.mark.parametrize("password", FREQUENT)
    def test_frequent_password_is_guessable_in_any_case(self, password: str) -> None:
        assert is_guessable(password, PERSONAL)
        assert is_listed(password.upper())

    @pytest.mark.parametrize("password", ACCEPTED)
    def test_other_password_is_not_listed(self, password: str) -> None:
        assert not is_listed(password)

    def test_list_has_three_thousand_sorted_digests(self) -> None:
        entries = [LISTED[at : at + DIGEST_BYTES] for at in range(0, len(LISTED), DIGEST_BYTES)]

        assert len(entries) == COUNT == len(set(entries))
        assert entries == sorted(entries)

    def test_first_and_last_digest_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        words = ["frequent-one", "frequent-two", "frequent-six"]
        monkeypatch.setattr("app.auth.common_passwords.LISTED", packed(words, count=3))

        assert all(map(is_listed, words))
        assert not is_listed("frequent-ten")


class TestPacked:
    def test_short_and_repeated_ones_do_not_count(self) -> None:
        lines = ["short\n", "long enough\n", "Long Enough\r\n", "the second\n", "the third\n"]

        assert packed(lines, count=2) == packed(["the second", "LONG ENOUGH"], count=2)

    def test_list_that_is_too_short_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="only 1"):
            packed(["long enough", "short"], count=2)
