"""Sessions and a mailed link as a front end uses them: two tabs refresh at once, all are signed out, a password is reset.

The page (``page.html``) is served from an origin of its own, which is FRONTEND_URL and may call the API. It is not shipped.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Error, Page, expect

from quality.testkit.server import HOST, alembic, free_port, serving, variables
from quality.testkit.services import PASSWORD, create_accounts
from tests.fixtures.smtp import SmtpServer, smtp_server
from tests.fixtures.until import until

PAGE = Path(__file__).with_name("page.html")
EMAIL = "grace@example.com"
NEW_PASSWORD = (
    "a completely different sentence"  # noqa: S105  made up, for an account that is thrown away
)
ROUNDS = 20
PATIENCE_SECONDS = 20
LINK = re.compile(r"http://\S+#token=[A-Za-z0-9_-]{43}")


async def visit(folder: Path, browser: Browser) -> None:
    """The whole walk, with one account, one server, one mail server."""
    front, api = free_port(), free_port()
    origin = f"http://{HOST}:{front}"
    async with smtp_server() as mail, front_end(front, api):
        environment = variables(
            f"sqlite:///{(folder / 'walk.sqlite3').as_posix()}",
            CORS_ALLOWED_ORIGINS=origin,
            FRONTEND_URL=origin,
            WORKER_IN_PROCESS="true",
            MAIL_MODE="smtp",
            SMTP_URL=f"smtp+plain://{HOST}:{mail.port}",
            MAIL_FROM="api@example.com",
        )
        alembic(environment, "upgrade", "head")
        await create_accounts(environment["DATABASE_URL"], EMAIL)
        async with serving(folder, environment, port=api):
            await walk(browser, origin, mail)


async def walk(browser: Browser, origin: str, mail: SmtpServer) -> None:
    asked: list[str] = []
    here, elsewhere = await browser.new_context(), await browser.new_context()
    for context in (here, elsewhere):
        context.on("request", lambda request: asked.append(request.url))
    tabs = [await opened(here, origin) for _ in range(2)]
    await log_in(tabs[0], PASSWORD)
    await tabs[1].evaluate("show()")
    await says(tabs[1], f"signed in as {EMAIL}")
    await refresh_at_once(tabs)
    other = await opened(elsewhere, origin)
    await log_in(other, PASSWORD)
    await signed_out_everywhere([*tabs, other])
    link = await forgotten(tabs[0], mail)
    await reset(await opened(here, link), link)
    if told := [url for url in asked if "token=" in url]:
        raise Error(f"the token of a link is in a request: {told[0]}")
    print(f"ok    {len(asked)} requests, none with the token of the link in its address")


async def refresh_at_once(tabs: list[Page]) -> None:
    """No tab is signed out, and both go on in one chain."""
    for _ in range(ROUNDS):
        statuses = await asyncio.gather(*(tab.evaluate("refresh()") for tab in tabs))
        if set(statuses) != {200}:
            raise Error(f"tabs that refresh at once get {statuses}")
    for tab in tabs:
        await tab.evaluate("show()")
        await says(tab, f"signed in as {EMAIL}")
    print(f"ok    two tabs refresh at once, {ROUNDS} times: none is signed out")


async def signed_out_everywhere(pages: list[Page]) -> None:
    """Also the tabs that did not ask for it, at their next request."""
    if (
        status := await pages[0].evaluate("logoutEverywhere()")
    ) != 204:  # noqa: PLR2004  No Content
        raise Error(f"logout-everywhere gets {status}")
    for page in pages:
        await page.evaluate("show()")
        await says(page, "signed out")
    print("ok    logout everywhere signs out every tab and the other browser")


async def forgotten(page: Page, mail: SmtpServer) -> str:
    """The link that is mailed."""
    await page.fill("#forgot [name=email]", EMAIL)
    await page.click("#forgot button")
    await says(page, "asked: 202")
    await until(lambda: bool(mail.received), PATIENCE_SECONDS)
    [(recipients, message)] = mail.received
    [link] = LINK.findall(message.get_content())
    if recipients != [EMAIL]:
        raise Error(f"the mail goes to {recipients}")
    print("ok    a mail brings the link for a forgotten password")
    return str(link)


async def reset(page: Page, link: str) -> None:
    """The link works once, and the new password logs in where the old one does not."""
    if "#" in page.url:
        raise Error("the token stays in the address bar")
    await set_password(page, "set: 204")
    again = await opened(page.context, link)
    await set_password(again, "set: 422")
    await log_in(again, PASSWORD, "refused: 401")
    await log_in(again, NEW_PASSWORD)
    print("ok    the link sets a password once; it logs in, the old one does not")


async def set_password(page: Page, result: str) -> None:
    await page.fill("#reset [name=password]", NEW_PASSWORD)
    await page.click("#reset button")
    await says(page, result)


async def log_in(page: Page, password: str, result: str = f"signed in as {EMAIL}") -> None:
    await page.fill("#login [name=email]", EMAIL)
    await page.fill("#login [name=password]", password)
    await page.click("#login button")
    await says(page, result)


async def opened(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(url)
    return page


async def says(page: Page, text: str) -> None:
    await expect(page.locator("#state")).to_have_text(text)


@asynccontextmanager
async def front_end(port: int, api: int) -> AsyncIterator[None]:
    """A server that has the page under every path, and closes each connection."""
    page = PAGE.read_bytes().replace(b'"API"', f'"http://{HOST}:{api}"'.encode())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + page)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a browser opens connections that it does not use
        finally:
            writer.close()

    async with await asyncio.start_server(serve, HOST, port):
        yield
