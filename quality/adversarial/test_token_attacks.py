"""Forged, damaged, foreign and outdated tokens, each sent to a protected endpoint (RFC 8725)."""

import hmac
import json
import logging
from base64 import urlsafe_b64encode
from datetime import datetime, tzinfo
from time import time
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.config import LOCAL_JWT_SECRET
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import MakeUser, bearer, headers_of
from tests.fixtures.logs import collected, lines

KEY = LOCAL_JWT_SECRET.encode()
PUBLIC_KEY = (
    b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
)
HEADER = {"alg": "HS256", "typ": "at+jwt"}
JSON_WEB_KEY = {"kty": "oct", "k": "YXR0YWNrZXI"}
ATTACKER_KEY = b"attacker"

Claims = dict[str, Any]

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


def claims_of(user: User, **changes: object) -> Claims:
    now = int(time())
    return {
        "sub": str(user.id), "iat": now, "exp": now + 3_600, "jti": "a" * 32, "token_use": "access",
    } | changes  # fmt: skip


def encoded(part: object) -> bytes:
    """Base64url of ``part``: of bytes as they are, of anything else as JSON."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).rstrip(b"=")


def forged(
    payload: object, header: object = HEADER, *, key: bytes = KEY, hash_: str = "sha256"
) -> str:
    """A token signed with the real key unless said otherwise, whatever its parts are."""
    signed = encoded(header) + b"." + encoded(payload)
    signature = urlsafe_b64encode(hmac.digest(key, signed, hash_)).rstrip(b"=")
    return (signed + b"." + signature).decode()


async def read_me(client: AsyncClient, token: str) -> Response:
    return await client.get("/auth/me", headers=bearer(token))


def assert_refused(response: Response, challenge: str = 'Bearer error="invalid_token"') -> None:
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == challenge
    error = response.json()["error"]
    assert error["code"] == "unauthorized"
    assert error["details"] == {}
    assert error["request_id"] == response.headers["X-Request-ID"]


def assert_anonymous(response: Response) -> None:
    assert_refused(response, "Bearer")


class TestForgery:
    async def test_forger_of_these_tests_can_make_a_valid_token(
        self, client: AsyncClient, ada: User
    ) -> None:
        response = await read_me(client, forged(claims_of(ada)))

        assert response.status_code == 200
        assert response.json()["id"] == str(ada.id)

    @pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "RS256"])
    @pytest.mark.parametrize("signature", ["", ".", ".e30", ".."])
    async def test_unsigned_token_is_refused(
        self, client: AsyncClient, ada: User, algorithm: str, signature: str
    ) -> None:
        head = encoded(HEADER | {"alg": algorithm}) + b"." + encoded(claims_of(ada))

        assert_refused(await read_me(client, head.decode() + signature))

    @pytest.mark.parametrize(
        "algorithm",
        [
            "none", "None", "", "hs256", "HS256 ", "HS384", "RS256", "ES256", "EdDSA", "HS256\0", "A" * 5_000,
            None, 0, 256, True, 1.5, [], ["HS256"], {}, {"HS256": "HS256"}, [["HS256"]],
        ],
    )  # fmt: skip
    async def test_header_with_another_algorithm_is_refused_though_the_signature_is_right(
        self, client: AsyncClient, ada: User, algorithm: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), HEADER | {"alg": algorithm})))

    async def test_header_without_algorithm_is_refused(
        self, client: AsyncClient, ada: User
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), {"typ": "at+jwt"})))

    @pytest.mark.parametrize("hash_", ["sha384", "sha512"])
    async def test_stronger_algorithm_than_the_configured_one_is_refused(
        self, client: AsyncClient, ada: User, hash_: str
    ) -> None:
        header = HEADER | {"alg": hash_.replace("sha", "HS")}

        assert_refused(await read_me(client, forged(claims_of(ada), header, hash_=hash_)))

    @pytest.mark.parametrize(
        "key",
        [b"", b"\0", b"secret", PUBLIC_KEY, PUBLIC_KEY.strip(), ATTACKER_KEY, KEY[:-1], KEY + b"x"],
    )
    async def test_token_signed_with_another_key_is_refused(
        self, client: AsyncClient, ada: User, key: bytes
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), key=key)))

    @pytest.mark.parametrize(
        "extra",
        [
            {"jwk": JSON_WEB_KEY},
            {"jku": "http://127.0.0.1:9/keys.json"},
            {"x5u": "http://127.0.0.1:9/cert.pem"},
            {"x5c": ["YXR0YWNrZXI="]},
            {"kid": "attacker"},
            {"kid": "../../dev/null"},
            {"kid": "' OR 1=1 --"},
            {"kid": "\0"},
            {"kid": 1},
            {"kid": None},
            {"kid": ["a"]},
            {"kid": "k" * 4_000},
        ],
        ids=lambda extra: str(extra)[:30],
    )
    @pytest.mark.parametrize("key", [ATTACKER_KEY, KEY], ids=["own key", "right key"])
    async def test_header_cannot_choose_the_key(
        self, client: AsyncClient, ada: User, extra: Claims, key: bytes
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), HEADER | extra, key=key)))

    @pytest.mark.parametrize(
        "extra",
        [
            {"crit": ["exp"]},
            {"crit": ["b64"], "b64": True},
            {"crit": ["b64"], "b64": False},
            {"crit": []},
            {"crit": "exp"},
            {"b64": False},
            {"zip": "DEF"},
            {"enc": "A256GCM"},
            {"cty": "JWT"},
        ],
        ids=str,
    )
    async def test_header_with_an_extension_is_refused(
        self, client: AsyncClient, ada: User, extra: Claims
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), HEADER | extra)))

    @pytest.mark.parametrize(
        "header",
        [
            b"", b"{", b"null", b"[]", b'"HS256"', b"1", b"\xff", b'{"alg":"HS256","typ":"at+jwt"',
            b"[" * 5_000, b'{"a":' * 1_000, b'{"alg":' + b"1" * 5_000 + b"}", b'{"alg":NaN}',
        ],
    )  # fmt: skip
    async def test_header_that_is_no_object_is_refused(
        self, client: AsyncClient, ada: User, header: bytes
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), header)))


class TestKindOfToken:
    @pytest.mark.parametrize(
        "token_use", ["refresh", "verify", "reset", "ACCESS", "access ", "", None, True, ["access"]]
    )
    async def test_token_for_another_use_is_refused(
        self, client: AsyncClient, ada: User, token_use: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, token_use=token_use))))

    @pytest.mark.parametrize(
        "typ", ["JWT", "AT+JWT", "rt+jwt", "application/at+jwt", "", None, 1, []]
    )
    async def test_token_of_another_type_is_refused(
        self, client: AsyncClient, ada: User, typ: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), HEADER | {"typ": typ})))

    async def test_token_without_type_is_refused(self, client: AsyncClient, ada: User) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada), {"alg": "HS256"})))


class TestClaims:
    @pytest.mark.parametrize("claim", ["sub", "exp", "iat", "jti", "token_use"])
    async def test_every_claim_is_required(
        self, client: AsyncClient, ada: User, claim: str
    ) -> None:
        without = claims_of(ada)
        del without[claim]

        assert_refused(await read_me(client, forged(without)))
        assert_refused(await read_me(client, forged(claims_of(ada, **{claim: None}))))

    @pytest.mark.parametrize("claim", ["exp", "iat"])
    @pytest.mark.parametrize(
        "value",
        [
            "4102444800", "", "never", True, False, [], [4102444800], {}, 4102444800.5, 4102444800.0, -1,
            10**400, 1e300, float("inf"), float("-inf"), float("nan"), 253_402_300_800,
        ],
    )  # fmt: skip
    async def test_moment_of_the_wrong_kind_is_refused(
        self, client: AsyncClient, ada: User, claim: str, value: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, **{claim: value}))))

    @pytest.mark.parametrize("value", ["soon", [], {}, 10**400, float("inf"), float("nan")])
    async def test_not_before_of_the_wrong_kind_is_refused(
        self, client: AsyncClient, ada: User, value: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, nbf=value))))

    @pytest.mark.parametrize(
        "spelling",
        [
            "upper case", "urn", "braces", "no dashes", "space", "newline", "NUL", "bytes", "integer",
        ],
    )  # fmt: skip
    async def test_id_in_another_spelling_is_refused(
        self, client: AsyncClient, ada: User, spelling: str
    ) -> None:
        sub = {
            "upper case": str(ada.id).upper(),
            "urn": ada.id.urn,
            "braces": f"{{{ada.id}}}",
            "no dashes": ada.id.hex,
            "space": f" {ada.id}",
            "newline": f"{ada.id}\n",
            "NUL": f"{ada.id}\0",
            "bytes": list(ada.id.bytes),
            "integer": ada.id.int,
        }[spelling]

        assert_refused(await read_me(client, forged(claims_of(ada, sub=sub))))

    @pytest.mark.parametrize(
        "sub",
        [
            "", "zzz", "\0", "\ud800", "ada@example.com", "me", "*", "' OR 1=1 --", "0" * 5_000, 0, 1, True, [],
            {}, ["01890a5d-ac96-774b-bcce-b302099a8057"], "00000000-0000-0000-0000-000000000000",
            "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a805\u0667",
        ],
    )  # fmt: skip
    async def test_subject_that_is_no_account_is_refused(
        self, client: AsyncClient, ada: User, sub: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, sub=sub))))

    @pytest.mark.parametrize("jti", ["", "x" * 65, 1, True, [], {}])
    async def test_token_id_of_the_wrong_kind_is_refused(
        self, client: AsyncClient, ada: User, jti: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, jti=jti))))

    @pytest.mark.parametrize(
        "payload",
        [
            b"", b"null", b"1", b"[]", b'"sub"', b"{", b"{}", b"\xff", b"[" * 5_000, b'{"a":' * 1_000,
            b'{"exp":' + b"9" * 5_000 + b"}",
        ],
    )  # fmt: skip
    async def test_payload_that_is_no_set_of_claims_is_refused(
        self, client: AsyncClient, payload: bytes
    ) -> None:
        assert_refused(await read_me(client, forged(payload)))

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
    async def test_payload_in_another_encoding_is_refused(
        self, client: AsyncClient, ada: User, encoding: str
    ) -> None:
        assert_refused(await read_me(client, forged(json.dumps(claims_of(ada)).encode(encoding))))

    @pytest.mark.parametrize("name", ["sub", "exp", "token_use", "unknown"])
    async def test_claim_that_is_made_twice_is_refused(
        self, client: AsyncClient, ada: User, name: str
    ) -> None:
        claims = claims_of(ada, unknown=1)
        twice = f"{{{json.dumps(name)}: {json.dumps(claims[name])}, {json.dumps(claims)[1:]}"
        assert json.loads(twice) == claims

        assert_refused(await read_me(client, forged(twice.encode())))


class TestClock:
    """Thirty seconds of leeway, for two hosts whose clocks differ."""

    NOW = 1_900_000_000

    @pytest.fixture(autouse=True)
    def stopped_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Stopped":
                return cls.fromtimestamp(TestClock.NOW, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)

    @pytest.mark.parametrize(
        ("claim", "offset", "status"),
        [
            ("exp", 1, 200), ("exp", 0, 200), ("exp", -29, 200), ("exp", -30, 401), ("exp", -31, 401),
            ("iat", 0, 200), ("iat", 29, 200), ("iat", 30, 200), ("iat", 31, 401), ("iat", 3_600, 401),
            ("nbf", 0, 200), ("nbf", 29, 200), ("nbf", 30, 200), ("nbf", 31, 401), ("nbf", 3_600, 401),
        ],
    )  # fmt: skip
    async def test_leeway_is_thirty_seconds(
        self, client: AsyncClient, ada: User, claim: str, offset: int, status: int
    ) -> None:
        times = {"iat": self.NOW - 60, "exp": self.NOW + 60, claim: self.NOW + offset}

        response = await read_me(client, forged(claims_of(ada, **times)))

        assert response.status_code == status
        if status == 401:
            assert_refused(response)


class TestIssuerAndAudience:
    ISSUER = "https://id.example.com"
    AUDIENCE = "orders"

    @pytest.fixture(scope="class")
    @classmethod
    def app(cls, engine: AsyncEngine) -> FastAPI:
        return app_on(engine, jwt_issuer=cls.ISSUER, jwt_audience=cls.AUDIENCE)

    async def test_token_with_both_is_accepted(self, client: AsyncClient, ada: User) -> None:
        token = forged(claims_of(ada, iss=self.ISSUER, aud=self.AUDIENCE))

        assert (await read_me(client, token)).status_code == 200

    @pytest.mark.parametrize("claim", ["iss", "aud"])
    async def test_token_without_one_is_refused(
        self, client: AsyncClient, ada: User, claim: str
    ) -> None:
        claims = claims_of(ada, iss=self.ISSUER, aud=self.AUDIENCE)
        del claims[claim]

        assert_refused(await read_me(client, forged(claims)))

    @pytest.mark.parametrize(
        "audience",
        [
            "", "order", "orders2", "ORDERS", " orders", "billing", None, 1, True, [], ["orders"],
            ["billing", "orders"], {"orders": "orders"},
        ],
    )  # fmt: skip
    async def test_other_audience_is_refused(
        self, client: AsyncClient, ada: User, audience: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, iss=self.ISSUER, aud=audience))))

    @pytest.mark.parametrize(
        "issuer",
        [
            "", "https://id.example.co", "https://id.example.com/", "https://id.example.com.evil.example",
            "HTTPS://ID.EXAMPLE.COM", "http://id.example.com", "h", None, 1, ["https://id.example.com"],
        ],
    )  # fmt: skip
    async def test_other_issuer_is_refused(
        self, client: AsyncClient, ada: User, issuer: object
    ) -> None:
        assert_refused(await read_me(client, forged(claims_of(ada, iss=issuer, aud=self.AUDIENCE))))


class TestForeignAudience:
    async def test_token_for_somebody_else_is_refused_by_a_service_without_a_name(
        self, client: AsyncClient, ada: User
    ) -> None:
        """RFC 7519, section 4.1.3: whoever is not the audience must refuse the token."""
        assert_refused(await read_me(client, forged(claims_of(ada, aud="billing"))))


class TestAuthorizationHeader:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
    async def test_scheme_is_read_in_any_case(
        self, client: AsyncClient, ada: User, scheme: str
    ) -> None:
        headers = {"Authorization": f"{scheme} {forged(claims_of(ada))}"}

        assert (await client.get("/auth/me", headers=headers)).status_code == 200

    @pytest.mark.parametrize(
        "pattern",
        [
            "Bearer  {}", "Bearer \t{}", "Bearer {} ", "Bearer {}\t", "Bearer {},", "Bearer {0}, Bearer {0}",
            "Bearer {0} {0}", "Bearer \"{}\"", "Bearer token={}", "Bearer Bearer {}", "Bearer {}=",
            "Bearer {}é", "Bearer é{}", "Bearer x", "Bearer .", "Bearer ..",
        ],
    )  # fmt: skip
    async def test_token_in_another_spelling_is_refused(
        self, client: AsyncClient, ada: User, pattern: str
    ) -> None:
        header = pattern.format(forged(claims_of(ada))).encode("latin-1")

        assert_refused(await client.get("/auth/me", headers={b"Authorization": header}))

    @pytest.mark.parametrize(
        "pattern",
        [
            "", "Bearer", "Bearer ", "{}", "Bearer\t{}", "Bearer:{}", "Bearer={}", "Token {}", "Basic {}",
            "JWT {}", "Digest {}", "Bearers {}", "Negotiate", "Bearér {}",
        ],
    )  # fmt: skip
    async def test_anything_but_a_bearer_token_is_no_token(
        self, client: AsyncClient, ada: User, pattern: str
    ) -> None:
        header = pattern.format(forged(claims_of(ada))).encode("latin-1")

        assert_anonymous(await client.get("/auth/me", headers={b"Authorization": header}))

    @pytest.mark.parametrize("first", ["valid", "invalid"])
    @pytest.mark.parametrize("second", ["valid", "invalid", "basic", "empty"])
    @pytest.mark.parametrize("path", ["/auth/me", "/api/v1/users/me", "/api/v1/users/{id}"])
    async def test_two_headers_are_a_bad_request(
        self, client: AsyncClient, ada: User, first: str, second: str, path: str
    ) -> None:
        values = {
            "valid": headers_of(ada)["Authorization"],
            "invalid": "Bearer x.y.z",
            "basic": "Basic YTpi",
            "empty": "",
        }

        response = await client.get(
            path.format(id=ada.id),
            headers=[("Authorization", values[first]), ("authorization", values[second])],
        )

        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "bad_request")
        assert error["message"] == "More than one Authorization header was sent"

    async def test_token_beyond_eight_kibibytes_is_refused_unread(
        self, client: AsyncClient, ada: User
    ) -> None:
        fits, exceeds = (forged(claims_of(ada, padding="x" * size)) for size in (5_000, 6_000))
        assert len(fits) < 8_192 < len(exceeds)

        assert (await read_me(client, fits)).status_code == 200
        assert_refused(await read_me(client, exceeds))

    @pytest.mark.parametrize(
        "token", ["." * 15_000, "a." * 7_500, "W1tb" * 2_000, "=" * 8_000, "-_" * 4_000]
    )
    async def test_heap_of_signs_is_refused(self, client: AsyncClient, token: str) -> None:
        assert_refused(await read_me(client, token))

    @pytest.mark.parametrize(
        "token", ["x" * 1_000_000, encoded(b"[" * 100_000).decode() + ".e30.e30"]
    )
    async def test_token_beyond_the_header_limit_is_a_431(
        self, client: AsyncClient, token: str
    ) -> None:
        response = await read_me(client, token)

        assert response.status_code == 431
        assert response.json()["error"]["code"] == "request_header_fields_too_large"


class TestOtherPlaces:
    """A token counts in the Authorization header only (RFC 6750, section 2.3)."""

    @pytest.mark.parametrize("name", ["access_token", "token", "authorization", "jwt"])
    async def test_token_in_the_url_is_ignored_and_not_logged(
        self, client: AsyncClient, ada: User, name: str
    ) -> None:
        token = forged(claims_of(ada))

        with collected(logging.DEBUG) as records:
            response = await client.get("/auth/me", params={name: token})

        ours = [record for record in records if record.name.startswith("app")]
        assert_anonymous(response)
        assert '"app.request"' in lines(ours)
        assert token not in lines(ours)

    @pytest.mark.parametrize("name", ["access_token", "token", "Authorization", "session"])
    async def test_token_in_a_cookie_is_ignored(
        self, client: AsyncClient, ada: User, name: str
    ) -> None:
        headers = {"Cookie": f"{name}={forged(claims_of(ada))}"}

        assert_anonymous(await client.get("/auth/me", headers=headers))

    @pytest.mark.parametrize(
        "name",
        ["X-Auth-Token", "X-Access-Token", "X-Authorization", "Proxy-Authorization", "Token"],
    )
    async def test_token_in_another_header_is_ignored(
        self, client: AsyncClient, ada: User, name: str
    ) -> None:
        token = forged(claims_of(ada))

        for value in (token, f"Bearer {token}"):
            assert_anonymous(await client.get("/auth/me", headers={name: value}))

    async def test_token_in_a_form_is_ignored(self, client: AsyncClient, ada: User) -> None:
        form = {"access_token": forged(claims_of(ada))}

        assert_anonymous(await client.request("GET", "/auth/me", data=form))


class TestAccountBehindTheToken:
    async def test_token_of_a_deleted_account_is_refused(
        self, client: AsyncClient, ada: User, db: AsyncSession
    ) -> None:
        assert (await client.get("/auth/me", headers=headers_of(ada))).status_code == 200

        await db.delete(await db.merge(ada))
        await db.commit()

        assert_refused(await client.get("/auth/me", headers=headers_of(ada)))

    async def test_token_does_not_pass_to_a_new_account_with_the_same_email(
        self, client: AsyncClient, ada: User, db: AsyncSession, make_user: MakeUser
    ) -> None:
        await db.delete(await db.merge(ada))
        await db.commit()
        successor = await make_user(ada.email)

        assert_refused(await client.get("/auth/me", headers=headers_of(ada)))
        assert (await client.get("/auth/me", headers=headers_of(successor))).status_code == 200

    async def test_token_of_an_inactive_account_is_refused_until_it_is_active_again(
        self, client: AsyncClient, ada: User, db: AsyncSession
    ) -> None:
        users = UserRepository(db)
        await users.set_active(ada.id, False)
        await db.commit()
        assert_refused(await client.get("/auth/me", headers=headers_of(ada)))

        await users.set_active(ada.id, True)
        await db.commit()

        assert (await client.get("/auth/me", headers=headers_of(ada))).status_code == 200

    async def test_token_of_nobody_is_refused_as_any_other(self, client: AsyncClient) -> None:
        unknown = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

        assert_refused(await client.get("/auth/me", headers=headers_of(unknown)))

    async def test_role_in_a_token_is_not_believed(
        self, client: AsyncClient, ada: User, grace: User
    ) -> None:
        claims = claims_of(ada, role="admin", roles=["admin"], is_superuser=True, scope="admin")

        response = await client.get(f"/api/v1/users/{grace.id}", headers=bearer(forged(claims)))

        assert response.status_code == 403
