"""How a handler sends a mail."""

from app.core.mail.base import Mail, MailRefused
from app.jobs.base import JobContext, PermanentFailure

SMTP_SECONDS = 15
MAIL_TIMEOUT_SECONDS = SMTP_SECONDS + 5
MAIL_ATTEMPTS = 16  # over about six hours


async def send_mail(context: JobContext, mail: Mail) -> None:
    """Commit what the handler has done so far, which frees its connection, and send. At least once: then the job ends.

    Raises ``PermanentFailure`` where the server will never take it.
    """
    await context.db.commit()
    try:
        await context.mailer.send(mail, str(context.job_id))
    except MailRefused as exc:
        raise PermanentFailure(str(exc)) from exc
