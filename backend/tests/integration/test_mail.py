"""Mail: one recipient whatever the input, and a verdict for whatever the server does."""

import asyncio
import subprocess
import sys
from io import StringIO
from uuid import uuid4

import pytest

from app.core.mail import smtp
from app.core.mail.base import Mail, MailDelayed, MailRefused
from app.core.mail.console import ConsoleMailer
from app.core.mail.message import message_of
from app.core.mail.smtp import SmtpMailer
from app.core.resources import build_mailer
from app.db.session import SessionFactory
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.mail import send_mail
from app.jobs.queue import enqueue
from tests.fixtures.env import make_settings
from tests.fixtures.jobs import Jobs
from tests.fixtures.server import server_environment
from tests.fixtures.smtp import SmtpServer, smtp_server
from tests.fixtures.until import until

SENDER = "api@example.com"


def mailer_to(server: SmtpServer) -> SmtpMailer:
    return SmtpMailer(f"smtp+plain://127.0.0.1:{server.port}", SENDER)


class TestMail:
    """M-01: nothing in a subject or an address becomes a header or a second recipient."""

    @pytest.mark.parametrize(
        "subject", ["a\r\nBcc: eve@example.com", "a\nb", "a\0b", "a\u2028b", "", "x" * 8_192]
    )
    def test_subject_of_more_than_one_line_is_rejected(self, subject: str) -> None:
        with pytest.raises(ValueError, match="subject"):
            Mail("ada@example.com", subject, "text")

    @pytest.mark.parametrize(
        "address",
        [
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com, eve@example.com",
            "Ada <ada@example.com>",
            "ada@example.com\0",
            "ada",
            "",
            f"{'x' * 8_192}@example.com",
            "ädä@example.com",
        ],
    )
    def test_recipient_that_is_not_one_address_is_rejected(self, address: str) -> None:
        with pytest.raises(ValueError, match="address"):
            Mail(address, "subject", "text")

    def test_domain_is_encoded_for_dns(self) -> None:
        assert Mail("ada@bücher.example", "subject", "text").to == "ada@xn--bcher-kva.example"

    def test_subject_in_any_script_is_encoded(self) -> None:
        raw = message_of(Mail("ada@example.com", "Grüße 🎉", "Zeile ü"), SENDER, "1").as_bytes()

        assert raw.isascii()
        assert raw.count(b"\nSubject:") == 1

    def test_html_is_an_alternative_to_the_text(self) -> None:
        message = message_of(Mail("ada@example.com", "s", "text", "<p>page</p>"), SENDER, "1")

        assert [part.get_content_type() for part in message.iter_parts()] == [
            "text/plain",
            "text/html",
        ]

    def test_message_id_holds_the_mail_id_and_the_sender_domain(self) -> None:
        mail = Mail("ada@example.com", "s", "text")

        assert message_of(mail, SENDER, "job")["Message-ID"] == "<job@example.com>"


class TestSmtp:
    """M-02: what the server does decides whether the mail is tried again."""

    async def test_mail_reaches_its_one_recipient(self) -> None:
        async with smtp_server() as server:
            await mailer_to(server).send(Mail("ada@example.com", "Hello", "text\n.\nend"), "1")

        ((recipients, message),) = server.received
        assert recipients == ["ada@example.com"]
        assert (message["Subject"], message["To"]) == ("Hello", "ada@example.com")

    @pytest.mark.parametrize("verb", ["RCPT", "END"])
    async def test_permanent_reply_to_recipient_or_message_is_final(self, verb: str) -> None:
        async with smtp_server() as server:
            server.said[verb] = "550 no such user ada@example.com"

            with pytest.raises(MailRefused) as caught:
                await mailer_to(server).send(Mail("ada@example.com", "Hello", "text"), "1")

        assert str(caught.value) == "the mail server said 550"

    @pytest.mark.parametrize(
        ("verb", "reply"),
        [
            ("RCPT", "450 later"),
            ("END", "451 later"),
            ("MAIL", "550 not you"),
            ("CONNECT", "554 no"),
        ],
    )
    async def test_other_reply_is_retried(self, verb: str, reply: str) -> None:
        async with smtp_server() as server:
            server.said[verb] = reply

            with pytest.raises(MailDelayed) as caught:
                await mailer_to(server).send(Mail("ada@example.com", "Hello", "text"), "1")

        assert "ada@" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("fault", ["hangs_at", "dribbles_at"])
    @pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"])
    async def test_server_that_hangs_or_dribbles_times_out_in_any_phase_i_17(
        self, verb: str, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(smtp, "DEADLINE_SECONDS", 0.1)
        async with smtp_server() as server:
            setattr(server, fault, verb)

            with pytest.raises(MailDelayed):
                await mailer_to(server).send(Mail("ada@example.com", "Hello", "text"), "1")

    async def test_mail_that_was_accepted_is_sent_whatever_the_goodbye(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise it would be sent again."""
        monkeypatch.setattr(smtp, "DEADLINE_SECONDS", 1)
        monkeypatch.setattr(smtp, "QUIT_SECONDS", 0.1, raising=False)
        async with smtp_server() as server:
            server.hangs_at = "QUIT"

            await mailer_to(server).send(Mail("ada@example.com", "Hello", "text"), "1")

        assert len(server.received) == 1

    @pytest.mark.parametrize("fault", ["hangs_at", "dribbles_at"])
    async def test_mail_to_a_server_that_hangs_or_dribbles_is_sent_when_it_does_not_i_17(
        self,
        jobs: Jobs,
        session_factory: SessionFactory,
        fault: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(smtp, "DEADLINE_SECONDS", 0.1)
        async with smtp_server() as server:
            setattr(server, fault, "RCPT")
            worker = jobs.worker([HANDLER])
            worker.mailer = mailer_to(server)
            async with session_factory.begin() as db:
                await enqueue(db, KIND, JobPayload())
            await worker.run(until_idle=True)
            assert (len(await jobs.pending()), server.received) == (1, [])

            setattr(server, fault, "")
            monkeypatch.setattr(smtp, "DEADLINE_SECONDS", 15)
            jobs.advance(60)
            await worker.run(until_idle=True)

        assert (len(await jobs.pending()), len(server.received)) == (0, 1)

    async def test_worker_that_ends_does_not_wait_for_a_server_that_hangs_i_17(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        """Its deadline is far. A thread that sends could not be cancelled, and would hold the exit of the process."""
        async with smtp_server() as server:
            server.hangs_at = "EHLO"
            worker = jobs.worker([HANDLER])
            worker.mailer = mailer_to(server)
            async with session_factory.begin() as db:
                await enqueue(db, KIND, JobPayload())
            worker.start()
            await until(lambda: bool(server.tasks), 5)

            async with asyncio.timeout(smtp.DEADLINE_SECONDS / 2):
                await worker.aclose(0.1)

            server.hangs_at = ""
            another = jobs.worker([HANDLER])
            another.mailer = mailer_to(server)
            await another.run(until_idle=True)

        assert (len(await jobs.pending()), len(server.received)) == (0, 1)

    async def test_server_without_starttls_receives_no_mail(self) -> None:
        async with smtp_server() as server:
            mailer = SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER)
            mailer.options["start_tls"] = smtp.start_tls("smtp", "mail.example.com")

            with pytest.raises(MailDelayed):
                await mailer.send(Mail("ada@example.com", "Hello", "text"), "1")

        assert server.received == []

    async def test_mail_is_sent_again_under_the_same_id_after_a_crash(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        async with smtp_server() as server:
            server.dies_after_data = True
            worker = jobs.worker([HANDLER])
            worker.mailer = mailer_to(server)
            async with session_factory.begin() as db:
                await enqueue(db, KIND, JobPayload())
            await worker.run(until_idle=True)
            assert len(await jobs.pending()) == 1

            server.dies_after_data = False
            jobs.advance(60)
            await worker.run(until_idle=True)

        assert await jobs.pending() == []
        first, second = (message["Message-ID"] for _, message in server.received)
        assert first == second

    async def test_rejected_mail_makes_its_job_dead(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        async with smtp_server() as server:
            server.said["RCPT"] = "550 no such user"
            worker = jobs.worker([HANDLER])
            worker.mailer = mailer_to(server)
            async with session_factory.begin() as db:
                await enqueue(db, KIND, JobPayload())
            await worker.run(until_idle=True)

        (job,) = await jobs.pending()
        assert job.error == "PermanentFailure: the mail server said 550"
        assert job.failed_at is not None


KIND = JobKind("hello", JobPayload)


async def say_hello(context: JobContext, payload: JobPayload) -> None:
    await send_mail(context, Mail("ada@example.com", "Hello", "text"))


HANDLER = Handler(KIND, say_hello)


SMTP = {
    "mail_mode": "smtp",
    "smtp_url": "smtps://mail",
    "mail_from": SENDER,
    "frontend_url": "https://app.example.com",
}


class TestSettings:
    """M-03: what production rejects, and what is not imported where it is off."""

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"mail_mode": "console"}, "MAIL_MODE"),
            (
                {**SMTP, "smtp_url": "smtp+plain://mail"},
                "SMTP_URL",
            ),
            ({**SMTP, "smtp_url": None}, "SMTP_URL"),
            ({**SMTP, "mail_from": None}, "MAIL_FROM"),
            ({"smtp_url": "http://mail"}, "SMTP_URL"),
            ({**SMTP, "frontend_url": None}, "FRONTEND_URL"),
            ({**SMTP, "frontend_url": "http://app.example.com"}, "FRONTEND_URL"),
            ({**SMTP, "frontend_url": "https://app.example.com/?a=b"}, "FRONTEND_URL"),
            ({**SMTP, "frontend_url": "https://app.example.com\nBcc: x"}, "FRONTEND_URL"),
        ],
    )
    def test_unsafe_or_incomplete_settings_are_rejected(
        self, changes: dict[str, str | None], named: str
    ) -> None:
        with pytest.raises(ValueError, match=f"(?i){named}"):
            make_settings(app_env="production", jwt_secret_key=uuid4().hex * 2, **changes)

    def test_off_drops_mail(self) -> None:
        assert type(build_mailer(make_settings(mail_mode="off"))).__name__ == "NullMailer"

    @pytest.mark.slow
    def test_client_library_is_imported_only_where_mail_is_on(self) -> None:
        code = "import sys, app.main; sys.exit('aiosmtplib' in sys.modules)"

        subprocess.run(
            [sys.executable, "-c", code], env=server_environment(MAIL_MODE="off"), check=True
        )

    async def test_console_shows_the_mail_and_logs_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = StringIO()

        await ConsoleMailer(stream).send(Mail("ada@example.com", "Hello", "the link"), "1")

        assert "To: ada@example.com\nSubject: Hello\n\nthe link" in stream.getvalue()
        assert caplog.records == []
