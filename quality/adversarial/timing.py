"""Whether the time of a response tells something: medians of tries that take turns."""

from collections.abc import Awaitable, Callable
from statistics import median

from quality.adversarial.context import Context
from quality.adversarial.expect import must
from quality.testkit.client import Response

# bcrypt's least cost in production: enough for the hashing to be most of what a response takes.
ROUNDS = 10
TRIES, QUICK_TRIES = 30, 10
SHARE, QUICK_SHARE = 0.25, 0.5
MEASUREMENTS = 3

# Sends the try with this number, and raises unless the response is the expected one.
Try = Callable[[int], Awaitable[Response]]


async def must_take_as_long(
    context: Context,
    kinds: dict[str, Try],
    reference: str,
    *,
    tries: int = TRIES,
    share: float = SHARE,
) -> None:
    """The median of each kind and that of ``reference`` differ by less than ``share`` of the larger one.

    What differs is measured again: a busy machine does it now and then, an application that tells always.
    A quick run tries less often and allows a half.
    """
    tries, share = (QUICK_TRIES, QUICK_SHARE) if context.quick else (tries, share)
    others = [name for name in kinds if name != reference]
    odd = dict.fromkeys(others, "")
    for _ in range(MEASUREMENTS):
        if odd:
            medians = await take_turns({name: kinds[name] for name in (*odd, reference)}, tries)
            odd = {
                name: said for name in odd if (said := difference(medians, name, reference, share))
            }
    for name in others:
        with context.variant(name):
            must(name not in odd, odd.get(name, ""))


async def take_turns(kinds: dict[str, Try], tries: int) -> dict[str, float]:
    """The median of each kind in seconds. Taking turns, they meet alike whatever else the machine does."""
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(tries):
        for name, send in kinds.items():
            times[name].append((await send(number)).seconds)
    return {name: median(values) for name, values in times.items()}


def difference(medians: dict[str, float], name: str, reference: str, share: float) -> str:
    """What is to be said about the two medians; nothing where they are alike."""
    low, high = sorted((medians[name], medians[reference]))
    if high - low < share * high:
        return ""
    return f"{medians[name] * 1_000:.2f} ms, {reference} takes {medians[reference] * 1_000:.2f} ms"
