"""What is fuzzed: a running server, two people whom it knows, and the seed of all random choices."""

from dataclasses import dataclass, field
from itertools import count

from quality.testkit.server import Server
from quality.testkit.services import Account, create_accounts


@dataclass(frozen=True)
class Target:
    """``accounts`` and, of those, ``admins``: the two that stay, and those of one request each.

    ``secrets``: what the application has told an account, and whose it is. Who sends it may be shown that account.
    """

    server: Server
    database_url: str
    user: Account
    admin: Account
    seed: int
    accounts: list[Account] = field(default_factory=list)
    admins: list[Account] = field(default_factory=list)
    secrets: dict[bytes, Account] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.accounts.extend((self.user, self.admin))
        self.admins.append(self.admin)

    async def somebody(self, *, is_superuser: bool) -> Account:
        """A new account, which a request may end or delete without harm to the others."""
        address = f"somebody-{next(self._numbers)}@example.com"
        [account] = await create_accounts(self.database_url, address, is_superuser=is_superuser)
        self.accounts.append(account)
        if is_superuser:
            self.admins.append(account)
        return account
