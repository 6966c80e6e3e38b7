"""The mails of identity and the jobs that send them."""

from collections.abc import Callable
from uuid import UUID

from app.core.mail.base import Mail
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.mail import MAIL_ATTEMPTS, MAIL_TIMEOUT_SECONDS, send_mail
from app.repositories.user import UserRepository


class Welcome(JobPayload):
    user_id: UUID


WELCOME = JobKind(
    "welcome_mail", Welcome, timeout_seconds=MAIL_TIMEOUT_SECONDS, max_attempts=MAIL_ATTEMPTS
)


def welcome(to: str, app_name: str) -> Mail:
    """Welcomes the owner of a new account."""
    text = f"Your account for {app_name} is ready.\n\nIf it was not you who made it, ignore this mail.\n"
    return Mail(to, f"Welcome to {app_name}", text)


async def send_welcome(context: JobContext, payload: Welcome) -> None:
    """Nothing for an account that is gone or deactivated by now."""
    user = await UserRepository(context.db).get_by_id(payload.user_id)
    if user is not None and user.is_active:
        await send_mail(context, welcome(user.email, context.settings.app_name))


HANDLERS = (Handler(WELCOME, send_welcome),)
PREVIEWS: dict[str, Callable[[], Mail]] = {
    "welcome": lambda: welcome("ada@example.com", "FastAPI Backend Template")
}
"""Each mail with sample data, for ``app.cli mail-preview``."""
