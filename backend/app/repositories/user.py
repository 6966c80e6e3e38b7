"""Queries on accounts. E-mail addresses arrive in their canonical form."""

from uuid import UUID

from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict
from app.models.user import User
from app.repositories.base import BaseRepository
from app.repositories.constraints import violates_unique


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

    async def set_active(self, user_id: UUID, active: bool) -> User | None:
        """Activate or deactivate an account, from its next request on; ``None`` if there is no such row."""
        user = await self.get_by_id(user_id)
        if user is not None:
            user.is_active = active
            await self.session.flush()
        return user
