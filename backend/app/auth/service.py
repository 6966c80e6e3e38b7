"""The use cases of identity, each a function that both APIs call."""

import logging

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.emails import canonical_email
from app.auth.mail_jobs import ask_for_verification
from app.auth.password import hash_password, needs_rehash, verify_password
from app.auth.policy import check_new_password
from app.auth.throttle import Throttle
from app.core.config import Settings
from app.core.errors import Unauthorized
from app.core.runtime.bounded_executor import BoundedExecutor
from app.db.cache_invalidation import mark_dirty
from app.models.user import User
from app.repositories.user import UserRepository

logger = logging.getLogger(__name__)


async def register_user(
    db: AsyncSession, executor: BoundedExecutor, settings: Settings, email: str, password: str
) -> User:
    """Create an ordinary account, and mail the link that verifies its address.

    Raises ``Conflict`` when the address is taken, ``ValidationFailed`` for a password that is too weak.
    The hash is made before the database is asked, so nothing waits for it while holding a connection.
    """
    check_new_password(password, email, settings)
    hashed = await executor.run(hash_password, password, rounds=settings.password_hash_rounds)
    user = await UserRepository(db).create(email, hashed)
    await ask_for_verification(db, user.id)
    return user


async def authenticate(
    db: AsyncSession,
    executor: BoundedExecutor,
    settings: Settings,
    email: str,
    password: str,
    *,
    throttle: Throttle,
) -> User:
    """The active account with these credentials; its hash is renewed if it was made with older parameters.

    Raises one ``Unauthorized`` for an unknown address, a wrong password and an inactive account, after
    the same work. Raises ``RateLimited`` before any work, whatever the password, where too many have failed,
    and ``ServiceUnavailable`` when too many passwords are waiting.
    """
    try:
        address = canonical_email(email)
    except ValueError:
        address = None  # no account has such an address
    async with throttle.attempt(address or email):
        executor.reject_if_full()  # a flood of logins must not become one of queries
        found = await UserRepository(db).get_by_email(address) if address else None
        user = await check_password(db, executor, settings, found, password)
    rounds = settings.password_hash_rounds
    if needs_rehash(user.hashed_password, rounds=rounds):
        renewed = await executor.run(hash_password, password, rounds=rounds)
        await _renew_hash(db, user, renewed)
    return user


async def check_password(
    db: AsyncSession,
    executor: BoundedExecutor,
    settings: Settings,
    user: User | None,
    password: str,
) -> User:
    """``user``, if it is active and this is its password. Ends the transaction, in which nothing is pending.

    Raises one ``Unauthorized`` for everything else, after the same work: no account, and one without a password.
    """
    if user is not None:
        db.expunge(user)  # stays readable, also on a session that expires its rows at a commit
    # Nothing is pending: this releases the connection for the quarter of a second that follows.
    await db.commit()
    rounds = settings.password_hash_rounds
    hashed = (user.hashed_password or None) if user else None
    matches = await executor.run(verify_password, password, hashed, rounds=rounds)
    if user is None or not matches or not user.is_active:
        logger.info("authn_login_fail", extra={"user_id": user.id if user else None})
        raise Unauthorized("Wrong e-mail address or password")
    return user


async def _renew_hash(db: AsyncSession, user: User, renewed: str) -> None:
    """Store ``renewed``, unless the account was deleted or got another password since it was read."""
    unchanged = (User.id == user.id) & (User.hashed_password == user.hashed_password)
    # A new version, because ``updated_at`` is in what the version is the ETag of.
    values = {"hashed_password": renewed, "version": User.version + 1}
    await db.execute(update(User).where(unchanged).values(values))
    mark_dirty(db, user)
