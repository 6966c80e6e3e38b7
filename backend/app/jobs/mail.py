"""How a handler sends a mail."""

from uuid import UUID

from app.core.mail.base import Mail, MailRefused
from app.jobs.base import JobContext, PermanentFailure

SMTP_SECONDS = 15
MAIL_TIMEOUT_SECONDS = SMTP_SECONDS + 5
MAIL_ATTEMPTS = 16  # over about six hours


async def send_mail(context: JobContext, mail: Mail, *, mail_id: UUID | None = None) -> None:
    """Commit what the handler has done so far, which frees its connection, and send. At least once: then the job ends.

    What is sent again has the same ``mail_id``, by default the job's: mailboxes may drop the second one. Raises ``PermanentFailure`` where the server will never take it.
    """
    await context.db.commit()
    try:
        await context.mailer.send(mail, str(mail_id or context.job_id))
    except MailRefused as exc:
        raise PermanentFailure(str(exc)) from exc
