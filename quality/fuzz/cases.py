"""The cases, each found again by the seed and its number."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random

from quality.fuzz.corpus import Sample
from quality.fuzz.http_mutations import HTTP
from quality.fuzz.http_parts import right_length
from quality.fuzz.mutations import ANYWHERE
from quality.fuzz.reading import read
from quality.fuzz.target import Target
from quality.testkit.client import message
from quality.testkit.services import Account

DRAWS = 3
UNSPOILED = {"before": 9_000_000, "after": 9_500_000}


@dataclass(frozen=True)
class Case:
    """Bytes to send, in two pieces where ``split`` is not 0, on behalf of ``caller``."""

    name: str
    raw: bytes
    caller: Account
    split: int = 0


def mutated(seed: int, number: int, samples: list[Sample]) -> Case:
    """A sample that one to three mutations have mutated. Most of what the parser refuses is drawn again: it is not ours."""
    rng = Random(f"{seed}:{number}")  # noqa: S311  seeded, no secret
    for _ in range(DRAWS):
        case = draw(rng, number, samples)
        if read(case.raw).methods:
            break
    return case


def draw(rng: Random, number: int, samples: list[Sample]) -> Case:
    with_body = [sample for sample in samples if sample.has_body]
    sample, other = rng.choice(with_body if rng.randrange(2) else samples), rng.choice(samples)
    raw, names = sample.numbered(number), [sample.name]
    for mutate in rng.choices(ANYWHERE + HTTP, k=rng.choice((1, 1, 2, 3))):
        raw = mutate(rng, raw, other.numbered(number))
        names.append(mutate.__name__)
    if rng.randrange(2):  # so that a mutated body is also read to its end
        raw = right_length(raw)
    split = rng.randrange(len(raw)) if raw and not rng.randrange(4) else 0
    return Case(", ".join(names), raw, sample.caller, split)


def unspoiled(samples: list[Sample], when: str) -> list[Case]:
    """Every sample as it is, with addresses that no mutation has."""
    first = UNSPOILED[when]
    return [
        Case(sample.name, sample.numbered(number), sample.caller)
        for number, sample in enumerate(samples, start=first)
    ]


def flipped_tokens(target: Target, flips: int) -> Iterator[Case]:
    """A valid token with one bit wrong: each bit of each byte, or as many of them as are wanted.

    And the parts of two valid tokens, put together in every way that is neither.
    """
    mine, theirs = target.user.token, target.admin.token
    places = [(byte, bit) for byte in range(len(mine)) for bit in range(8)]
    rng = Random(target.seed)  # noqa: S311  seeded, no secret
    for byte, bit in rng.sample(places, min(flips, len(places))):
        flipped = bytearray(mine.encode())
        flipped[byte] ^= 1 << bit
        yield with_token(f"bit {bit} of byte {byte} flipped", bytes(flipped), target.user)
    for parts in product(*zip(mine.split("."), theirs.split("."), strict=True)):
        mixed = ".".join(parts)
        if mixed not in {mine, theirs}:
            yield with_token("parts of two tokens", mixed.encode(), target.user)


def with_token(name: str, token: bytes, caller: Account) -> Case:
    raw = message("GET", "/api/v1/users/me", token=caller.token)
    return Case(name, raw.replace(caller.token.encode(), token), caller)
