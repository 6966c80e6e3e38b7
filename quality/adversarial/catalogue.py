"""Every attack by its number: run here, or held elsewhere. None may be missing without a reason."""

from importlib import import_module
from pathlib import Path

from quality.adversarial.attack import Attack

# What is not run here, and what holds it instead.
NOT_HERE = {
    "A-22": "brute force against one and many accounts: backend/tests/integration/test_login_throttle.py",
    "A-23": "the right password while throttled: backend/tests/integration/test_login_throttle.py",
    "A-33": "a flood of logins while others are served: a figure under load, `make chaos`",
    "A-61": "slow clients: the proxy holds them off, `make proxy-profile`",
    "A-81": "Redis refuses, hangs, is slow, answers errors or garbage: `make chaos`, section redis",
    "A-82": "Redis comes and goes: `make chaos`, section redis",
    "A-83": "PostgreSQL refuses, hangs, restarts, is full or read-only: `make chaos`, section postgres",
    "A-84": "every connection to PostgreSQL in slow use: `make chaos`, section postgres",
    "A-85": "deadlock, and two transactions that cannot both be: backend/tests/integration/test_database_failures.py",
    "A-86": "clients that hang up at every stage: `make chaos`, section leaks",
    "A-87": "signals under load, at the start, while migrating: `make chaos`, section signals",
    "A-88": "clocks that differ: quality/adversarial/test_claims.py; clocks that step: "
    "quality/repository/test_dangerous_code.py",
    "A-89": "a log that nobody takes, a full disk: `make chaos`, section log_sink",
    "A-90": "names that cannot be looked up: `make chaos`, section names",
    "A-91": "few descriptors, large bodies: `make chaos`, section limits",
    "A-92": "a schema ahead of the application: `make chaos`, section migrations; there is no earlier release yet",
    "A-93": "odd .env files, secrets in messages of the start: backend/tests/unit/core/test_config.py",
    "A-94": "migrators that meet, a migration that is blocked: `make chaos`, section migrations",
    "A-95": "requests that nobody has thought of: `make fuzz`",
}


def catalogue() -> list[Attack]:
    """The attacks of every module here, in the order of their numbers."""
    modules = [
        import_module(f"{__package__}.{path.stem}")
        for path in Path(__file__).parent.glob("test_*.py")
    ]
    marks = [
        mark
        for module in modules
        for found in vars(module).values()
        for mark in getattr(found, "pytestmark", [])
    ]
    attacks = (mark.args[0] for mark in marks if mark.name == "attack")
    return sorted(attacks, key=lambda attack: attack.id)


def table() -> str:
    """The catalogue as ``make attack args=--table`` prints it."""
    rows = {attack.id: f"{attack.what} | {attack.expected}" for attack in catalogue()}
    elsewhere = {number: "not here | " + reason for number, reason in NOT_HERE.items()}
    lines = [f"| {number} | {row} |" for number, row in sorted((rows | elsewhere).items())]
    return "\n".join(["| id | attack | expected |", "|---|---|---|", *lines])
