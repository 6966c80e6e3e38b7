"""Mail for development."""

import sys
from typing import TextIO

from app.core.mail.base import Mail

RULE = "-" * 70


class ConsoleMailer:
    """Writes each mail to standard error, never to the log: it may hold a link that signs in."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    async def send(self, mail: Mail, mail_id: str) -> None:
        stream = self.stream or sys.stderr
        head = f"To: {mail.to}\nSubject: {mail.subject}"
        stream.write(f"{RULE}\n{head}\n\n{mail.text}\n{RULE}\n")
        stream.flush()
