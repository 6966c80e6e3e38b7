"""Access tokens that were cut, flipped or mixed: none of them is read."""

from uuid import UUID

import pytest

from app.auth.jwt import _verified, create_access_token, decode_token
from app.core.errors import Unauthorized
from tests.unit.auth.test_jwt import ADA, GRACE, SETTINGS, identity_in, issued


class TestDecodeToken:

    @pytest.mark.parametrize(("length", "identity"), [(8_192, ADA), (8_193, None)])
    def test_longest_token_that_is_read_has_8192_characters(
        self, length: int, identity: UUID | None
    ) -> None:
        padded = (issued(padding="x" * size) for size in range(5_800, 6_000))
        token = next(token for token in padded if len(token) == length)

        assert identity_in(token) == identity

    def test_refused_token_takes_no_place_among_those_that_are_remembered(self) -> None:
        before = _verified.cache_info().currsize

        for number in range(10):
            with pytest.raises(Unauthorized):
                decode_token(f"a.b.{number}", settings=SETTINGS)

        assert _verified.cache_info().currsize == before

    @pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b.c", "é.é.é", "\0", "\ud800", " "])
    def test_text_that_is_no_token_is_refused(self, text: str) -> None:
        assert identity_in(text) is None

    @pytest.mark.parametrize("swapped", [1, 2])
    def test_part_of_another_token_is_refused(self, swapped: int) -> None:
        parts = create_access_token(ADA, settings=SETTINGS).split(".")

        parts[swapped] = create_access_token(GRACE, settings=SETTINGS).split(".")[swapped]

        assert identity_in(".".join(parts)) is None
