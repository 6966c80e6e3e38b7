"""Mail by SMTP (RFC 5321), one connection for each message."""

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib

from app.core.mail.base import Mail, MailDelayed, MailRefused
from app.core.mail.message import message_of

DEADLINE_SECONDS = 15.0
QUIT_SECONDS = 1.0
PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
PERMANENT = 500  # replies from here on are final (RFC 5321, section 4.2.1)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class SmtpMailer:
    """``url`` is ``smtps://user:password@host``, or ``smtp://...`` with STARTTLS, which only loopback may lack.

    ``smtp+plain://`` never encrypts. The envelope is passed beside the message, so no header can add a recipient.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self.sender = sender
        self.options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port or PORTS[parts.scheme],
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "start_tls": start_tls(parts.scheme, parts.hostname),
            "timeout": DEADLINE_SECONDS,
        }

    async def send(self, mail: Mail, mail_id: str) -> None:
        """Raises ``MailRefused`` where the recipient or the message is rejected for good, else ``MailDelayed``; within 16 s.

        Ends at once when it is cancelled.
        """
        message = message_of(mail, self.sender, mail_id)
        envelope = {"sender": message["From"].addresses[0].addr_spec, "recipients": [mail.to]}
        client = aiosmtplib.SMTP(**self.options)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await client.connect()
                await client.send_message(message, **envelope)
        except aiosmtplib.SMTPRecipientsRefused as exc:
            raise failure(exc.recipients[0].code) from None
        except aiosmtplib.SMTPDataError as exc:
            raise failure(exc.code) from None
        except (aiosmtplib.SMTPException, OSError) as exc:
            # The library's own words quote the addresses, and what a job fails with is logged.
            raise MailDelayed(type(exc).__name__) from None
        else:
            with suppress(aiosmtplib.SMTPException, OSError):  # the mail has been accepted
                await client.quit(timeout=QUIT_SECONDS)
        finally:
            # Not ``async with client``, which waits for a reply to QUIT when it is cancelled, and so would an exit.
            client.close()


def failure(code: int) -> MailRefused | MailDelayed:
    said = f"the mail server said {code}"
    return MailRefused(said) if code >= PERMANENT else MailDelayed(said)


def start_tls(scheme: str, host: str | None) -> bool | None:
    """``None`` is where it is offered."""
    if scheme == "smtp":
        return None if host in LOOPBACK else True
    return False
