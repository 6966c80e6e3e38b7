"""Roles: a hundred at most, so they are read at once."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict
from app.models.role import Role

MAX_ROLES = 100
_LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended("roles", 0)))


class RoleRepository:
    """Reads, makes and deletes roles."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def all(self) -> Sequence[Role]:
        """Every role, by name."""
        return (await self.session.scalars(select(Role).order_by(Role.name).limit(MAX_ROLES))).all()

    async def get(self, name: str) -> Role | None:
        """The role of this name, locked until the transaction ends."""
        query = select(Role).where(Role.name == name).with_for_update()
        return await self.session.scalar(query)

    async def add(self, role: Role) -> None:
        """Insert ``role``. Raises ``Conflict`` for the 101st, and where another request was faster.

        New roles are inserted and counted one after another: the lock sees to it, and a SQLite database has one writer.
        """
        if self.session.get_bind().dialect.name == "postgresql":
            await self.session.execute(_LOCK)
        self.session.add(role)
        try:
            await self.session.flush()
        except IntegrityError:
            raise Conflict("Another request has made this role") from None
        count = await self.session.scalar(select(func.count()).select_from(Role)) or 0
        if count > MAX_ROLES:
            raise Conflict(f"There are at most {MAX_ROLES} roles")

    async def delete(self, role: Role) -> None:
        """Delete ``role``. Raises ``Conflict`` while an account has it: the foreign key decides."""
        await self.session.delete(role)
        try:
            await self.session.flush()
        except IntegrityError:
            raise Conflict("Accounts have this role") from None
