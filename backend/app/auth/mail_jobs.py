"""The jobs that mail: what a request asks for, and what a worker then looks up, makes and sends."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import mails
from app.auth.links import CHANGE, INVITE, RESET, VERIFY, mint
from app.auth.mails import NOTICES, About, LinkMail
from app.auth.opaque import digest
from app.core.mail.base import Mail
from app.db.types import utc_now
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.mail import MAIL_ATTEMPTS, MAIL_TIMEOUT_SECONDS, send_mail
from app.jobs.queue import enqueue
from app.models.user import User
from app.repositories.one_time_link import OneTimeLinkRepository
from app.repositories.user import UserRepository


class OfAccount(JobPayload):
    user_id: UUID


class OfAddress(JobPayload):
    email: str


class NewAddress(OfAccount):
    email: str


class Notice(OfAccount):
    """``email`` is the address of the account when it happened; earlier releases leave it out."""

    about: About
    email: str | None = None


class Addressed(Protocol):
    """An account, or a copy of it."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def email_verified_at(self) -> datetime | None: ...


PayloadT = TypeVar("PayloadT", bound=JobPayload)


def _kind(name: str, payload: type[PayloadT]) -> JobKind[PayloadT]:
    return JobKind(name, payload, timeout_seconds=MAIL_TIMEOUT_SECONDS, max_attempts=MAIL_ATTEMPTS)


VERIFICATION_MAIL = _kind("verification_mail", OfAccount)
RESET_MAIL = _kind("reset_mail", OfAddress)
CHANGE_MAIL = _kind("change_mail", NewAddress)
INVITATION_MAIL = _kind("invitation_mail", OfAccount)
NOTICE_MAIL = _kind("notice_mail", Notice)
# What releases before one-time links ask for when somebody registers; their rows may wait while a release rolls out.
WELCOME_MAIL = _kind("welcome_mail", OfAccount)


async def ask_for_verification(db: AsyncSession, user_id: UUID) -> None:
    await enqueue(db, VERIFICATION_MAIL, OfAccount(user_id=user_id), key=str(user_id))


async def ask_for_reset(db: AsyncSession, email: str) -> None:
    """The same statement for every address: who has an account is the job's to find out."""
    await enqueue(db, RESET_MAIL, OfAddress(email=email), key=_name(email))


async def ask_for_change(db: AsyncSession, user_id: UUID, email: str) -> None:
    key = f"{user_id} {_name(email)}"
    await enqueue(db, CHANGE_MAIL, NewAddress(user_id=user_id, email=email), key=key)


async def ask_for_invitation(db: AsyncSession, user_id: UUID) -> None:
    await enqueue(db, INVITATION_MAIL, OfAccount(user_id=user_id), key=str(user_id))


async def ask_for_notice(db: AsyncSession, user: Addressed, about: About) -> None:
    """To the address that ``user`` has now: a thief who changes it before the mail is sent does not get it.

    None to one that never was verified. It may be a stranger's, and no pause limits notices.
    """
    if user.email_verified_at is None:
        return
    payload = Notice(user_id=user.id, about=about, email=user.email)
    await enqueue(db, NOTICE_MAIL, payload, key=f"{user.id} {about} {_name(user.email)}")


async def send_verification(context: JobContext, payload: OfAccount) -> None:
    """Nothing for an address that is verified."""
    user = await _active(context, payload.user_id)
    if user is not None and user.email_verified_at is None:
        await _send_link(context, user, VERIFY, user.email, mails.verification)


async def send_reset(context: JobContext, payload: OfAddress) -> None:
    """Nothing for an address that nobody has."""
    found = await UserRepository(context.db).get_by_email(payload.email)
    user = await _active(context, found.id) if found else None
    if user is not None and user.email == payload.email:
        await _send_link(context, user, RESET, user.email, mails.reset)


async def send_change(context: JobContext, payload: NewAddress) -> None:
    """A link to the new address. Where it is taken its owner is told, and the link, made all the same, is sent to nobody.

    So the account that asked sees no difference, and can have its owner told once in five minutes only.
    """
    user = await _active(context, payload.user_id)
    if user is None or user.email == payload.email:
        return
    taken = await UserRepository(context.db).get_by_email(payload.email)
    write: LinkMail = _tell_owner if taken else mails.change
    await _send_link(context, user, CHANGE, payload.email, write)


async def send_invitation(context: JobContext, payload: OfAccount) -> None:
    """Nothing for an account that has a password."""
    user = await _active(context, payload.user_id)
    if user is not None and not user.hashed_password:
        await _send_link(context, user, INVITE, user.email, mails.invitation)


async def send_notice(context: JobContext, payload: Notice) -> None:
    """Also where the account is gone by now: then all the more."""
    to = payload.email
    if to is None:
        user = await _active(context, payload.user_id)
        to = user.email if user is not None and user.email_verified_at is not None else None
    if to is not None:
        await send_mail(context, mails.notice(to, context.settings.app_name, payload.about))


async def _active(context: JobContext, user_id: UUID) -> User | None:
    """The account, locked, unless it is gone or deactivated."""
    user = await UserRepository(context.db).lock(user_id)
    return user if user is not None and user.is_active else None


async def _send_link(
    context: JobContext, user: User, purpose: str, to: str, write: LinkMail
) -> None:
    """Mint, commit, send, note that it was sent: a worker that vanishes on the way leaves no ``sent_at``, and all is done again.

    Not under the id of the job: the second mail has another link, and a mailbox that drops what it knows would keep the first.
    """
    minted = await mint(context.db, context.settings, user.id, purpose, to)
    if minted is None:
        return
    mail = write(to, context.settings.app_name, minted.url)
    await send_mail(context, mail, mail_id=minted.link_id)
    await OneTimeLinkRepository(context.db).mark_sent(minted.link_id, utc_now())


def _tell_owner(to: str, app_name: str, link: str) -> Mail:
    return mails.notice(to, app_name, "email_taken")


def _name(text: str) -> str:
    """For a key, which is shorter than an address may be."""
    return digest(text.encode()).hex()


HANDLERS = (
    Handler(VERIFICATION_MAIL, send_verification),
    Handler(WELCOME_MAIL, send_verification),
    Handler(RESET_MAIL, send_reset),
    Handler(CHANGE_MAIL, send_change),
    Handler(INVITATION_MAIL, send_invitation),
    Handler(NOTICE_MAIL, send_notice),
)
_ADA = "ada@example.com"
_APP = "FastAPI Backend Template"
_LINK = "https://app.example.com/page#token=..."
PREVIEWS: dict[str, Callable[[], Mail]] = {
    "verification": partial(mails.verification, _ADA, _APP, _LINK),
    "reset": partial(mails.reset, _ADA, _APP, _LINK),
    "change": partial(mails.change, _ADA, _APP, _LINK),
    "invitation": partial(mails.invitation, _ADA, _APP, _LINK),
    **{about: partial(mails.notice, _ADA, _APP, about) for about in NOTICES},
}
"""Each mail with sample data, for ``app.cli mail-preview``."""
