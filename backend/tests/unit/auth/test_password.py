"""Password hashes: every byte of a password counts, and nothing that is stored can break a login."""

import unicodedata

import pytest

from app.auth import password as password_module
from app.auth.password import hash_password, needs_rehash, verify_password
from app.core import security
from tests.fixtures.env import FAST_HASH_ROUNDS
from tests.fixtures.hashing import recorded_hashing

ROUNDS = FAST_HASH_ROUNDS
# Of "lovelace", and of ten times that.
SHORT_HASH = "$2b$04$nem3X36hGKdse.l172aBDuWfF.goEvOli5sGkgx7khMB7h.8sY7qu"
LONG_HASH = "$bcrypt-sha256$v=2,t=2b,r=4$OEYQuC/dn88IQGPBEMecJu$pOjAUmtbek25.eh94hUrUwTSYDIUNdK"

FITS_BCRYPT = ["x", "correct horse battery staple", "x" * 71, "x" * 72, "é" * 36, "🐎" * 18]
EXCEEDS_BCRYPT = ["x" * 73, "x" * 80, "é" * 36 + "x", "🐎" * 64, "x" * 128]


def hashed(password: str) -> str:
    return hash_password(password, rounds=ROUNDS)


def verified(password: str, stored: str | None) -> bool:
    return verify_password(password, stored, rounds=ROUNDS)


class TestHashPassword:
    @pytest.mark.parametrize("password", FITS_BCRYPT + EXCEEDS_BCRYPT)
    def test_hash_verifies_its_own_password_only(self, password: str) -> None:
        stored = hashed(password)

        assert verified(password, stored)
        assert not verified(password + "x", stored)
        assert not verified(password[:-1], stored)

    @pytest.mark.parametrize("password", FITS_BCRYPT)
    def test_password_of_up_to_72_bytes_is_plain_bcrypt(self, password: str) -> None:
        assert hashed(password).startswith(f"$2b${ROUNDS:02}$")

    @pytest.mark.parametrize("password", EXCEEDS_BCRYPT)
    def test_longer_password_is_bcrypt_over_sha256(self, password: str) -> None:
        assert hashed(password).startswith(f"$bcrypt-sha256$v=2,t=2b,r={ROUNDS}$")

    @pytest.mark.parametrize("size", [71, 72, 73, 80])
    def test_last_byte_is_significant(self, size: int) -> None:
        stored = hashed("x" * size)

        assert verified("x" * size, stored)
        assert not verified("x" * (size - 1) + "y", stored)

    def test_equal_passwords_have_different_hashes(self) -> None:
        assert hashed("lovelace") != hashed("lovelace")

    def test_default_cost_is_that_of_production(self) -> None:
        with recorded_hashing() as looks:
            verify_password("lovelace", None)

        assert hash_password("lovelace").startswith("$2b$12$")
        assert [look.cost for look in looks] == [2**12]

    @pytest.mark.parametrize("password", ["a\0b", "\0", "a" * 80 + "\0"])
    def test_nul_is_rejected(self, password: str) -> None:
        with pytest.raises(ValueError, match=r"^A password cannot contain NUL$"):
            hashed(password)

    @pytest.mark.parametrize("password", ["\ud800", "a" * 80 + "\udfff"])
    def test_lone_surrogate_is_rejected(self, password: str) -> None:
        with pytest.raises(ValueError, match="surrogates"):
            hashed(password)


class TestVerifyPassword:
    def test_older_hash_still_verifies(self) -> None:
        assert verified("lovelace", SHORT_HASH)
        assert verified("lovelace" * 10, LONG_HASH)

    @pytest.mark.parametrize("text", ["pâté de foie", "Ångström", "한글 비밀번호", "é" * 60])
    def test_password_is_compared_in_nfc(self, text: str) -> None:
        composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
        assert composed != decomposed

        assert verified(decomposed, hashed(composed))
        assert verified(composed, hashed(decomposed))

    @pytest.mark.parametrize(
        ("password", "other"),
        [
            (" padded", "padded"),
            ("padded ", "padded"),
            ("two  spaces", "two spaces"),
            ("Case", "case"),
            ("ﬁsh", "fish"),  # compatible, not canonically equal
            ("\ufeffbom", "bom"),
        ],
    )
    def test_password_is_not_trimmed_folded_or_replaced(self, password: str, other: str) -> None:
        assert verified(password, hashed(password))
        assert not verified(other, hashed(password))

    @pytest.mark.parametrize("ident", ["$2a$", "$2y$"])
    def test_other_bcrypt_prefixes_are_understood(self, ident: str) -> None:
        imported = SHORT_HASH.replace("$2b$", ident)

        assert verified("lovelace", imported)
        assert not verified("lovelac3", imported)

    @pytest.mark.parametrize("password", ["\0", "lovelace\0", "\ud800", "lovelace\udfff"])
    def test_impossible_password_matches_no_hash(self, password: str) -> None:
        assert not verified(password, SHORT_HASH)
        assert not verified(password, LONG_HASH)

    @pytest.mark.parametrize("password", ["", "x" * 80])
    def test_stand_in_hash_matches_no_password(self, password: str) -> None:
        for stand_in in (password_module._DUMMY_SHORT, password_module._DUMMY_LONG):
            assert not verified(password, stand_in.format(rounds=ROUNDS))


class TestNeedsRehash:
    @pytest.mark.parametrize("stored", [SHORT_HASH, LONG_HASH])
    def test_only_a_hash_with_the_live_cost_is_kept(self, stored: str) -> None:
        assert not needs_rehash(stored, rounds=ROUNDS)
        assert needs_rehash(stored, rounds=ROUNDS + 1)
        assert needs_rehash(stored.replace("4$", "5$", 1), rounds=ROUNDS)


class TestCompatibleImport:
    def test_core_security_offers_the_functions_of_auth(self) -> None:
        assert security.hash_password is hash_password
        assert security.verify_password is verify_password
        assert set(security.__all__) == {"hash_password", "verify_password"}
