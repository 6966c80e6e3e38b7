"""Queries on accounts. E-mail addresses arrive in their canonical form."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, true, update
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict
from app.models.user import User
from app.repositories.base import BaseRepository, changed_rows
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

    async def create(
        self,
        email: str,
        hashed_password: str,
        *,
        is_superuser: bool = False,
    ) -> User:
        """Insert an account. Raises ``Conflict`` when the address is taken: the unique index decides."""
        user = User(
            email=email,
            hashed_password=hashed_password,
            is_superuser=is_superuser,
        )
        with conflict_if_taken():
            return await self.add(user)

    async def change_email(self, user: User, email: str, verified_at: datetime) -> None:
        """Give ``user`` another, verified address. Raises ``Conflict`` when it is taken."""
        with conflict_if_taken():
            await self.change(user, {"email": email, "email_verified_at": verified_at})

    async def lock(self, user_id: UUID) -> User | None:
        """The account as it is now, for the rest of the transaction: who changes it waits. SQLite has no such lock.

        First in its transaction: the locks of users come before those of sessions and links.
        """
        query = self.base_query().where(User.id == user_id).with_for_update(key_share=True)
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def change_password(
        self, user_id: UUID, hashed_password: str, now: datetime, *, read: datetime | None
    ) -> bool:
        """Store a hash, and that sessions have ended; ``False`` where they have ended since they were ``read``."""
        changed = (
            update(User)
            .where(
                User.id == user_id,
                User.is_active,
                User.sessions_ended_at.is_not_distinct_from(read),
            )
            .values(
                hashed_password=hashed_password, sessions_ended_at=now, version=User.version + 1
            )
        )
        done = await self.session.execute(changed, execution_options={"synchronize_session": False})
        return changed_rows(done) == 1

    @asynccontextmanager
    async def keeping_an_admin(self, *, without: User) -> AsyncIterator[None]:
        """Around a change that may take ``without`` from the active admins. Raises ``Conflict`` if none would be left.

        The lock lets such changes happen one after another; a SQLite database has one writer. To count first and write
        then would let two of them pass. Foreign keys to these accounts do not wait for it.
        """
        if not (without.is_superuser and without.is_active):
            yield
            return
        await self.session.execute(_ADMINS.order_by(User.id).with_for_update(key_share=True))
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


@contextmanager
def conflict_if_taken() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if violates_unique(error, User.email):
            raise Conflict("This e-mail address is already registered") from error
        raise
