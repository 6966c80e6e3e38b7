"""Login attempts are counted before the password check, so that concurrent guesses cannot exceed the limit."""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol


class AttemptLimiter(Protocol):
    def attempt(self, account: str, client: str) -> AbstractAsyncContextManager[None]:
        """Around one attempt of ``client`` at ``account``.

        It has failed if the block raises ``Unauthorized``, or is cancelled. Another error says that no attempt was
        made; no error, that it succeeded. Raises ``RateLimited`` before the block where too many have failed,
        ``ServiceUnavailable`` where concurrent requests leave no place on the way to Redis.
        """


class NullAttemptLimiter:
    """Limits nobody."""

    def attempt(self, account: str, client: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()
