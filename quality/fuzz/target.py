"""What is fuzzed: a running server, two people whom it knows, and the seed of all dice."""

from dataclasses import dataclass

from quality.testkit.server import Server
from quality.testkit.services import Account


@dataclass(frozen=True)
class Target:
    server: Server
    user: Account
    admin: Account
    seed: int

    @property
    def accounts(self) -> tuple[Account, ...]:
        return (self.user, self.admin)
