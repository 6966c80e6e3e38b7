"""The account that a request is counted for: read from a valid token alone."""

from uuid import UUID

import pytest
from starlette.types import Scope

from app.auth.jwt import create_access_token
from app.auth.rate_limit_key import verified_user
from tests.fixtures.env import make_settings
from tests.unit.core.middleware.asgi import http_scope

ADA = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SETTINGS = make_settings(jwt_secret_key="another-key-with-more-than-32-bytes")
TOKEN = create_access_token(ADA, settings=SETTINGS).encode()


def sending(*credentials: bytes) -> Scope:
    return http_scope(*((b"authorization", value) for value in credentials))


class TestVerifiedUser:
    @pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER "])
    def test_verified_user_is_the_subject_of_a_valid_token(self, scheme: bytes) -> None:
        assert verified_user(SETTINGS, sending(scheme + TOKEN)) == f"user:{ADA}"

    def test_verified_user_is_none_under_another_key(self) -> None:
        assert verified_user(make_settings(), sending(b"Bearer " + TOKEN)) is None

    @pytest.mark.parametrize(
        "credentials",
        [[], [b""], [TOKEN], [b"Basic " + TOKEN], [b"Bearer \xff"], [b"Bearer " + TOKEN] * 2],
    )
    def test_verified_user_is_none_without_one_token(self, credentials: list[bytes]) -> None:
        assert verified_user(SETTINGS, sending(*credentials)) is None
