"""Queries on accounts. E-mail addresses arrive in their canonical form."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import select, true
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict
from app.models.user import User
from app.repositories.base import BaseRepository
from app.repositories.constraints import violates_unique
from app.repositories.pages import sorts

SORTS = sorts(User.id, created=User.id, email=User.email)
_ADMINS = select(User.id).where(User.is_superuser == true(), User.is_active == true())


class UserRepository(BaseRepository[User]):
    """Accounts: found by key or address, created, listed, activated and deactivated."""

    model = User

    async def get_by_email(self, email: str) -> User | None:
        """The account with this address, active or not, or ``None``."""
        return await self.session.scalar(self.base_query().where(User.email == email))

    async def create(self, email: str, hashed_password: str, *, is_superuser: bool = False) -> User:
        """Insert an account. Raises ``Conflict`` when the address is taken: the unique index decides."""
        user = User(email=email, hashed_password=hashed_password, is_superuser=is_superuser)
        try:
            return await self.add(user)
        except IntegrityError as error:
            if violates_unique(error, User.email):
                raise Conflict("This e-mail address is already registered") from error
            raise

    @asynccontextmanager
    async def keeping_an_admin(self, *, without: User) -> AsyncIterator[None]:
        """Around a change that may take ``without`` from the active admins. Raises ``Conflict`` if none would be left.

        The lock lets such changes happen one after another; a SQLite database has one writer. To count first and write
        then would let two of them pass.
        """
        if not (without.is_superuser and without.is_active):
            yield
            return
        await self.session.execute(_ADMINS.order_by(User.id).with_for_update())
        yield
        if await self.session.scalar(_ADMINS.limit(1)) is None:
            raise Conflict("The last active admin cannot go")

    async def set_active(self, user_id: UUID, active: bool) -> User | None:
        """Activate or deactivate an account, from its next request on; ``None`` if there is no such row."""
        user = await self.get_by_id(user_id)
        if user is not None:
            user.is_active = active
            await self.session.flush()
        return user
