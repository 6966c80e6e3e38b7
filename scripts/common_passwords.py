"""Makes backend/app/auth/common_passwords.bin from a list of passwords on standard input, the most frequent first.

The list is that of zxcvbn 4.5.0 (MIT), `FREQUENCY_LISTS["passwords"]`, a line each.
"""

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

TARGET = Path(__file__).parents[1] / "backend" / "app" / "auth" / "common_passwords.bin"
COUNT = 3_000
SHORTEST = 8  # PASSWORD_FLOOR: shorter ones are rejected for that
DIGEST_BYTES = 6


def packed(passwords: Iterable[str], count: int = COUNT) -> bytes:
    """The sorted digests of the first ``count`` passwords that are long enough.

    Raises ``ValueError`` where there are not as many.
    """
    long_enough = dict.fromkeys(
        text for line in passwords if len(text := line.rstrip("\r\n").casefold()) >= SHORTEST
    )
    first = list(long_enough)[:count]
    if len(first) < count:
        raise ValueError(f"the list has only {len(first)} passwords of {SHORTEST} characters")
    return b"".join(sorted(sha256(text.encode()).digest()[:DIGEST_BYTES] for text in first))


if __name__ == "__main__":
    TARGET.write_bytes(packed(sys.stdin))
