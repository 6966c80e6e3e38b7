"""/docs in a real browser: log in with Authorize, ask for the current user, and no other host hears of it. ``make browser``.

Then sessions and a mailed link, as a front end uses them: ``walk.py``.

``args="--picture backend/docs/images/docs.png"`` also writes the picture of the page that the README shows. Playwright drives the
Chromium that is installed on this machine (Debian: ``apt-get install chromium``) and downloads none.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Error, Page, async_playwright, expect

from quality.browser import walk
from quality.testkit.server import HOST, alembic, serving, variables
from quality.testkit.services import PASSWORD, create_accounts

EMAIL = "ada@example.com"
ME = "#operations-users-v1_users_read_me"
RESPONSE = f"{ME} .live-responses-table .response"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = f"No browser: one of {', '.join(BROWSERS)} has to be on the PATH."
SIZE = {"width": 1280, "height": 1000}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make browser", description=__doc__)
    parser.add_argument("--picture", type=Path, help="write the page, logged in, to this PNG file")
    picture: Path | None = parser.parse_args().picture
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print(MISSING, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(visit(Path(folder), program, picture))
        except (AssertionError, Error) as error:
            print(f"FAIL  {error}", file=sys.stderr)
            return 1
    return 0


async def visit(folder: Path, program: str, picture: Path | None) -> None:
    """Look at the page of a real server with one account."""
    environment = variables(f"sqlite:///{(folder / 'browser.sqlite3').as_posix()}")
    alembic(environment, "upgrade", "head")
    await create_accounts(environment["DATABASE_URL"], EMAIL)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    sandbox = ["--no-sandbox"] if is_root else []  # it refuses to sandbox root
    async with serving(folder, environment) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=sandbox)
        page = await browser.new_page(viewport=SIZE)  # type: ignore[arg-type]  # a dict of this shape
        await look(page, f"{HOST}:{server.port}", picture)
        await walk.visit(folder, browser)
        await browser.close()


async def look(page: Page, host: str, picture: Path | None) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.set_content("<img src='http://other.example/'>", wait_until="commit")
    if foreign(asked, host) != ["http://other.example/"]:
        raise Error("a request to another host is not seen")
    asked.clear()
    await page.goto(f"http://{host}/docs")
    await log_in(page)
    print("ok    Authorize logs in with address and password")
    if picture:
        picture.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=picture)
        print(f"ok    {picture}")
    await read_me(page)
    print("ok    GET /api/v1/users/me is called from the page and shows the account")
    if not any(url.endswith("/api/v1/users/me") for url in asked):
        raise Error("the call is not seen")
    if others := foreign(asked, host):
        raise Error(f"the page asks other hosts: {', '.join(others)}")
    print(f"ok    {len(asked)} requests, none of them to another host")


async def log_in(page: Page) -> None:
    await page.click(".scheme-container .btn.authorize")
    await page.fill("#oauth_username", EMAIL)
    await page.fill("#oauth_password", PASSWORD)
    await page.click(".modal-ux .auth-btn-wrapper .btn.authorize")
    await expect(page.locator(".modal-ux .auth-btn-wrapper")).to_contain_text("Logout")
    await page.click(".modal-ux .btn-done")


async def read_me(page: Page) -> None:
    await page.click(f"{ME} .opblock-summary-control")
    await page.click(f"{ME} .try-out__btn")
    await page.click(f"{ME} .btn.execute")
    await expect(page.locator(f"{RESPONSE} .response-col_status")).to_contain_text("200")
    await expect(page.locator(f"{RESPONSE} .response-col_description")).to_contain_text(EMAIL)


def foreign(urls: Iterable[str], host: str) -> list[str]:
    """Those that leave the machine or go to another port of it. A picture that is its own address asks nobody."""
    return [url for url in urls if not url.startswith("data:") and urlsplit(url).netloc != host]


if __name__ == "__main__":
    sys.exit(main())
