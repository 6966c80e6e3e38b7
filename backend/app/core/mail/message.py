"""A mail as it is sent. Imported where mail is really sent: Python's headers take a megabyte."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime

from app.core.mail.base import Mail, ascii_address

SEVEN_BIT = SMTP.clone(cte_type="7bit")  # no server has to take more (RFC 5321, section 2.4)


def message_of(mail: Mail, sender: str, mail_id: str) -> EmailMessage:
    """The message as it is sent (RFC 5322). The same ``mail_id`` makes the same ``Message-ID``."""
    address = Address(addr_spec=ascii_address(sender))
    message = EmailMessage(policy=SEVEN_BIT)
    message["From"] = address
    message["To"] = Address(addr_spec=mail.to)
    message["Subject"] = mail.subject
    message["Date"] = localtime()
    message["Message-ID"] = f"<{mail_id}@{address.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic reply
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    return message
