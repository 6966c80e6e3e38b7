"""Forgotten passwords: what the time of the response tells: A-72."""

from http import HTTPStatus

from app.auth.links import RESET
from quality.adversarial.attack import attack
from quality.adversarial.context import Context, somebody
from quality.adversarial.expect import expect, must
from quality.adversarial.timing import Try, must_take_as_long
from quality.testkit.client import Response
from tests.fixtures.auth import make_link

FORGOT = "/api/v1/auth/password/forgot"
TRIES, SHARE = 400, 0.1


@attack(
    "A-72",
    "forgotten password: unknown, known, inactive account, one that was just mailed",
    "the same 202 after the same time",
    live=True,
)
async def test_time_of_a_forgotten_password(context: Context) -> None:
    """No address comes twice in a measurement: one that waits already is less work for the database."""
    unknown = [somebody() for _ in range(TRIES)]
    addresses = {
        "unknown address": unknown,
        "known address": [one.email for one in await context.accounts(TRIES)],
        "inactive account": [one.email for one in await context.accounts(TRIES, is_active=False)],
        "just mailed": await just_mailed(context),
    }
    kinds = {kind: asking(context, those) for kind, those in addresses.items()}
    await must_take_as_long(context, kinds, "unknown address", tries=TRIES, share=SHARE)


def asking(context: Context, addresses: list[str]) -> Try:
    """Requests with one and the same response, each for the next address."""

    async def ask(number: int) -> Response:
        response = await context.post_json(FORGOT, {"email": addresses[number]})
        expect(response, HTTPStatus.ACCEPTED)
        must(response.body == b"", f"the response tells {response.body!r}")
        return response

    return ask


async def just_mailed(context: Context) -> list[str]:
    """Accounts with a link that was sent now."""
    addresses = [one.email for one in await context.accounts(TRIES)]
    async with context.server.sessions.begin() as db:
        for address in addresses:
            user = await context.stored(address)
            assert user is not None
            db.add(make_link(user, RESET, f"a link to {address}", address))
    return addresses
