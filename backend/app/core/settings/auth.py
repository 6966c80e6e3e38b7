"""The settings of tokens and passwords. They are here because app.core may not import app.auth."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from app.core.settings.types import AcceptedKeys, any_case

# RFC 7518, section 3.2: an HMAC key is at least as long as the hash.
JWT_SECRET_MIN_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
PASSWORD_FLOOR = 8  # characters; PASSWORD_MIN_LENGTH may ask for more
PRODUCTION_HASH_ROUNDS_MIN = 10
PLACEHOLDERS = ("change", "secret", "example", "placeholder", "your-", "password")
RANDOM_CHARACTERS_MIN = 8  # 32 bytes of real randomness, in any encoding, have many more


class AuthSettings(BaseModel):
    jwt_secret_key: SecretStr | None = Field(
        None, description="Signing key, 32 bytes or more. Required outside local and test."
    )
    jwt_accepted_secret_keys: AcceptedKeys = Field(
        (),
        max_length=3,
        description="Keys that verify and do not sign, comma separated, at most 3: see AUTH_MODEL.",
    )
    jwt_algorithm: Annotated[
        Literal["HS256", "HS384", "HS512"], any_case("HS256", "HS384", "HS512")
    ] = Field("HS256", description="The one algorithm that is issued and accepted.")
    jwt_access_token_expires_minutes: int = Field(
        60, ge=1, le=1_440, description="Lifetime of an access token."
    )
    jwt_issuer: str | None = Field(None, description="iss to issue and to require.")
    jwt_audience: str | None = Field(None, description="aud to issue and to require.")
    password_min_length: int = Field(
        PASSWORD_FLOOR, ge=PASSWORD_FLOOR, le=64, description="Fewest characters of a new password."
    )
    password_hash_rounds: int = Field(
        12, ge=4, le=16, description="bcrypt cost, a power of two. At least 10 in production."
    )
    password_hash_queue_size: int = Field(
        16, ge=1, le=10_000, description="Hashes that may wait for a core, then 503."
    )
    password_hash_workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Threads that hash. Unset: the process's share of the processors, less one.",
    )

    def problems_in_production(self) -> Iterator[str]:
        """Why production must not start with these: one sentence each."""
        yield from key_problems("JWT_SECRET_KEY", self.jwt_secret_key, self.jwt_algorithm)
        for accepted in self.jwt_accepted_secret_keys:
            yield from key_problems("JWT_ACCEPTED_SECRET_KEYS", accepted, self.jwt_algorithm)
        if self.password_hash_rounds < PRODUCTION_HASH_ROUNDS_MIN:
            yield f"PASSWORD_HASH_ROUNDS must be at least {PRODUCTION_HASH_ROUNDS_MIN}"


def key_problems(name: str, secret: SecretStr | None, algorithm: str) -> Iterator[str]:
    key = secret.get_secret_value() if secret else ""
    if not key:
        yield f"{name} is required"
    elif len(key.encode()) < (least := JWT_SECRET_MIN_BYTES[algorithm]):
        yield f"{name} must have at least {least} bytes for {algorithm}"
    elif is_placeholder(key):
        yield f"{name} is a placeholder"


def is_placeholder(key: str) -> bool:
    few_characters = len(set(key)) < RANDOM_CHARACTERS_MIN
    return few_characters or any(word in key.lower() for word in PLACEHOLDERS)
