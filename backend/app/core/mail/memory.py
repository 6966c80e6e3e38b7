"""Mail for tests."""

from app.core.mail.base import Mail


class MemoryMailer:
    """Keeps each mail in ``sent``."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    async def send(self, mail: Mail, mail_id: str) -> None:
        self.sent.append(mail)
