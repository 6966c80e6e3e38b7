"""Every attack by its number: run here, or held elsewhere. None may be missing without a reason."""

from scripts.attack import (
    addressing,
    bodies,
    caching,
    claims,
    edge,
    forgeries,
    inputs,
    limits,
    logins,
    origins,
    passwords,
    poison,
    registrations,
    request_ids,
    tokens,
)
from scripts.attack.arena import ATTACKS, Attack

# Importing a section registers its attacks.
SECTIONS = (
    forgeries,
    claims,
    tokens,
    logins,
    passwords,
    registrations,
    bodies,
    inputs,
    edge,
    request_ids,
    addressing,
    origins,
    caching,
    poison,
    limits,
)

# What is not run here, and what holds it instead.
NOT_HERE = {
    "A-22": "brute force against one and many accounts: backend/tests/integration/test_login_throttle.py",
    "A-23": "the right password while throttled: backend/tests/integration/test_login_throttle.py",
    "A-33": "a flood of logins while others are served: a figure under load, `make chaos`",
    "A-61": "slow clients: the proxy holds them off, `make proxy-profile`",
}


def catalogue() -> list[Attack]:
    """The attacks of every section, in the order of their numbers."""
    return sorted(ATTACKS, key=lambda attack: attack.id)


def table() -> str:
    """The catalogue as backend/docs/ATTACKS.md shows it."""
    rows = {attack.id: f"{attack.what} | {attack.expected}" for attack in catalogue()}
    elsewhere = {number: "not here | " + reason for number, reason in NOT_HERE.items()}
    lines = [f"| {number} | {row} |" for number, row in sorted((rows | elsewhere).items())]
    return "\n".join(["| id | attack | expected |", "|---|---|---|", *lines])
