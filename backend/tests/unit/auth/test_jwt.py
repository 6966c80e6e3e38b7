"""Access tokens without HTTP: what is issued can be read, and nothing else."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from time import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from pydantic import ValidationError

from app.auth.jwt import (
    HEADER_TYPE,
    LEEWAY,
    TokenClaims,
    _verified,
    create_access_token,
    decode_token,
)
from app.core.config import LOCAL_JWT_SECRET, get_settings
from app.core.errors import Unauthorized
from tests.fixtures.env import make_settings

ADA = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
GRACE = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
OTHER_KEY = "another-key-with-more-than-32-bytes"
LONG_KEY = "k" * 64  # as long as the longest hash

SETTINGS = make_settings()


def part(token: str, index: int) -> dict[str, Any]:
    segment = token.split(".")[index]
    content: dict[str, Any] = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return content


def identity_in(token: str) -> UUID | None:
    try:
        return decode_token(token, settings=SETTINGS).user_id
    except Unauthorized:
        return None


def issued(**changes: object) -> str:
    """A token as it would be issued with other claims, signed with the right key."""
    claims = part(create_access_token(ADA, settings=SETTINGS), 1) | changes
    return jwt.encode(claims, LOCAL_JWT_SECRET, headers={"typ": HEADER_TYPE})


class TestCreateAccessToken:
    def test_header_names_the_algorithm_and_the_type_and_nothing_else(self) -> None:
        token = create_access_token(ADA, settings=SETTINGS)

        assert part(token, 0) == {"alg": "HS256", "typ": "at+jwt"}

    def test_claims_are_those_of_an_access_token_of_one_hour(self) -> None:
        before = int(time())

        claims = part(create_access_token(ADA, settings=SETTINGS), 1)

        assert set(claims) == {"sub", "iat", "exp", "jti", "token_use"}
        assert claims["sub"] == str(ADA)
        assert claims["token_use"] == "access"
        assert before <= claims["iat"] <= time()
        assert claims["exp"] - claims["iat"] == 3_600

    def test_issuer_and_audience_are_named_when_they_are_set(self) -> None:
        settings = make_settings(jwt_issuer="https://id.example.com", jwt_audience="orders")

        claims = part(create_access_token(ADA, settings=settings), 1)

        assert claims["iss"] == "https://id.example.com"
        assert claims["aud"] == "orders"

    def test_lifetime_and_algorithm_are_those_of_the_settings(self) -> None:
        settings = make_settings(
            jwt_algorithm="HS512", jwt_secret_key=LONG_KEY, jwt_access_token_expires_minutes=5
        )

        token = create_access_token(ADA, settings=settings)

        assert part(token, 0)["alg"] == "HS512"
        assert part(token, 1)["exp"] - part(token, 1)["iat"] == 300

    def test_no_two_tokens_have_the_same_id(self) -> None:
        tokens = [create_access_token(ADA, settings=SETTINGS) for _ in range(100)]

        assert len({part(token, 1)["jti"] for token in tokens}) == 100


class TestDecodeToken:
    def test_cached_token_is_rejected_once_it_has_expired(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = create_access_token(ADA, settings=SETTINGS)
        assert identity_in(token) == ADA

        later = time() + 60 * 60 + LEEWAY.total_seconds()
        monkeypatch.setattr("app.auth.jwt.time", lambda: later)

        assert identity_in(token) is None

    def test_expired_token_is_accepted_for_less_than_thirty_seconds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = create_access_token(ADA, settings=SETTINGS)
        assert identity_in(token) == ADA

        identities = []
        for seconds in (-1, 0, 29, 30):
            moment = part(token, 1)["exp"] + seconds
            monkeypatch.setattr("app.auth.jwt.time", lambda moment=moment: moment)
            identities.append(identity_in(token))

        assert identities == [ADA, ADA, ADA, None]

    def test_cache_of_tokens_is_bounded(self) -> None:
        assert _verified.cache_info().maxsize == 1_024

    @pytest.mark.parametrize(("moment", "identity"), [(0, ADA), (-1, None)])
    def test_time_before_the_epoch_is_rejected(self, moment: int, identity: UUID | None) -> None:
        assert identity_in(issued(iat=moment)) == identity

    def test_cached_token_is_rejected_under_another_key_issuer_or_audience(self) -> None:
        token = create_access_token(ADA, settings=SETTINGS)
        assert identity_in(token) == ADA

        for change in (
            {"jwt_secret_key": OTHER_KEY},
            {"jwt_issuer": "https://issuer.example"},
            {"jwt_audience": "orders"},
        ):
            with pytest.raises(Unauthorized):
                decode_token(token, settings=make_settings(**change))

    @pytest.mark.parametrize("spelling", [UUID, str])
    def test_issued_token_is_decoded(self, spelling: Callable[[object], UUID | str]) -> None:
        token = create_access_token(spelling(str(ADA)), settings=SETTINGS)

        claims = decode_token(token, settings=SETTINGS)

        assert claims.user_id == ADA
        assert claims.sub == str(ADA)
        assert claims.exp - claims.iat == 3_600

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_token_of_every_algorithm_is_decoded(self, algorithm: str) -> None:
        settings = make_settings(jwt_algorithm=algorithm, jwt_secret_key=LONG_KEY)

        token = create_access_token(ADA, settings=settings)

        assert decode_token(token, settings=settings).user_id == ADA

    def test_claims_are_immutable(self) -> None:
        claims = decode_token(create_access_token(ADA, settings=SETTINGS), settings=SETTINGS)

        with pytest.raises(ValidationError):
            claims.sub = str(GRACE)  # type: ignore[misc]

    def test_settings_of_the_process_are_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JWT_SECRET_KEY", OTHER_KEY)
        monkeypatch.setenv("JWT_ACCESS_TOKEN_EXPIRES_MINUTES", "7")
        process = get_settings()
        monkeypatch.delenv("JWT_SECRET_KEY")
        monkeypatch.delenv("JWT_ACCESS_TOKEN_EXPIRES_MINUTES")

        token = create_access_token(ADA)

        claims = decode_token(token)
        assert claims.user_id == ADA
        assert claims.exp - claims.iat == 420
        assert decode_token(token, settings=process) == claims
        with pytest.raises(Unauthorized):
            decode_token(token, settings=SETTINGS)

    @pytest.mark.parametrize(
        "difference",
        [{"jwt_secret_key": OTHER_KEY * 2}, {"jwt_algorithm": "HS384"}, {"jwt_audience": "orders"}],
        ids=["key", "algorithm", "audience"],
    )
    def test_token_of_another_service_is_rejected(self, difference: dict[str, str]) -> None:
        here = make_settings(jwt_secret_key=LONG_KEY)
        there = make_settings(**{"jwt_secret_key": LONG_KEY, **difference})
        token = create_access_token(ADA, settings=there)
        assert decode_token(token, settings=there).user_id == ADA

        with pytest.raises(Unauthorized):
            decode_token(token, settings=here)

    def test_rejection_has_no_reason_and_a_challenge(self) -> None:
        with pytest.raises(Unauthorized) as raised:
            decode_token("marker", settings=SETTINGS)

        assert raised.value.message == "The access token is not valid"
        assert raised.value.details == {}
        assert raised.value.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        assert raised.value.__cause__ is None


class TestTokenClaims:
    @pytest.mark.parametrize("moment", [-1, True, 1.5, "1", 10**400, None])
    def test_timestamp_is_a_whole_number_within_bounds(self, moment: object) -> None:
        claims = {"sub": str(ADA), "iat": 1, "exp": 1, "jti": "x", "token_use": "access"}
        assert TokenClaims.model_validate(claims).exp == 1

        with pytest.raises(ValidationError):
            TokenClaims.model_validate(claims | {"exp": moment})
