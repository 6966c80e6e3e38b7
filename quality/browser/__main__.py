"""/docs in a real browser: log in with Authorize, ask who I am, and no other host hears of it. ``make browser``.

``args="--picture backend/docs/images/docs.png"`` also writes the picture of the page that the README shows.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from quality.browser.webdriver import Browser, Missing, NotThere, chromium, find_driver
from quality.testkit.server import HOST, alembic, serving, variables
from quality.testkit.services import PASSWORD, create_accounts

EMAIL = "ada@example.com"
ME = "#operations-users-v1_users_read_me"
ANSWER = f"{ME} .live-responses-table .response"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make browser", description=__doc__)
    parser.add_argument("--picture", type=Path, help="write the page, logged in, to this PNG file")
    picture: Path | None = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(visit(Path(folder), picture))
        except (Missing, NotThere) as error:
            print(f"FAIL  {error}", file=sys.stderr)
            return 1
    return 0


async def visit(folder: Path, picture: Path | None) -> None:
    """Look at the page of a real server with one account."""
    find_driver()
    environment = variables(f"sqlite:///{(folder / 'browser.sqlite3').as_posix()}")
    alembic(environment, "upgrade", "head")
    await create_accounts(environment["DATABASE_URL"], EMAIL)
    async with serving(folder, environment) as server:
        await asyncio.to_thread(look, server.port, picture)


def look(port: int, picture: Path | None) -> None:
    with chromium() as browser:
        show_a_fault(browser)
        browser.open(f"http://{HOST}:{port}/docs")
        browser.wait_for(ME)
        log_in(browser)
        print("ok    Authorize logs in with address and password")
        if picture:
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(browser.picture())
            print(f"ok    {picture}")
        ask_who_i_am(browser)
        print("ok    GET /api/v1/users/me is called from the page and shows the account")
        asked = browser.requested()
    if not any(url.endswith("/api/v1/users/me") for url in asked):
        raise NotThere("the network log does not show the call")
    if others := foreign(asked, f"{HOST}:{port}"):
        raise NotThere(f"the page asks other hosts: {', '.join(others)}")
    print(f"ok    {len(asked)} requests, none of them to another host")


def show_a_fault(browser: Browser) -> None:
    """Raise ``NotThere`` if the network log would keep a request to another host to itself."""
    browser.open("data:text/html,<img src='http://other.example/'>")
    if foreign(browser.requested(), "") != ["http://other.example/"]:
        raise NotThere("the network log does not show a request to another host")


def log_in(browser: Browser) -> None:
    browser.click(".scheme-container .btn.authorize")
    browser.write("#oauth_username", EMAIL)
    browser.write("#oauth_password", PASSWORD)
    browser.click(".modal-ux .auth-btn-wrapper .btn.authorize")
    browser.wait_for(".modal-ux .auth-btn-wrapper", "Logout")
    browser.click(".modal-ux .btn-done")


def ask_who_i_am(browser: Browser) -> None:
    browser.click(f"{ME} .opblock-summary-control")
    browser.click(f"{ME} .try-out__btn")
    browser.click(f"{ME} .btn.execute")
    browser.wait_for(f"{ANSWER} .response-col_status", "200")
    browser.wait_for(f"{ANSWER} .response-col_description", EMAIL)


def foreign(urls: Iterable[str], host: str) -> list[str]:
    """Those that leave the machine or go to another port of it. A picture that is its own address asks nobody."""
    return [url for url in urls if not url.startswith("data:") and urlsplit(url).netloc != host]


if __name__ == "__main__":
    sys.exit(main())
