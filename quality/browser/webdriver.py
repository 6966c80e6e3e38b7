"""A headless Chromium, driven by the few commands of W3C WebDriver that are needed: plain HTTP to chromedriver."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2

from quality.testkit.server import HOST, free_port

T = TypeVar("T")

PATIENCE_SECONDS = 30
ELEMENT = (
    "element-6066-11e4-a52e-4f735466cecf"  # the name that WebDriver gives to the id of an element
)
MISSING = (
    "chromedriver was not found on the PATH. It drives the browser and comes with it: "
    "apt install chromium chromium-driver, brew install --cask chromedriver, or choco install chromedriver."
)
# Nothing but this machine can be found, and the browser does nothing on its own account.
OPTIONS = (
    *(
        "--headless=new",
        "--window-size=1280,1400",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
    ),
    *("--no-first-run", "--disable-background-networking", "--disable-sync", "--no-proxy-server"),
    *("--disable-dev-shm-usage", "--disable-gpu"),
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
)


class Missing(Exception):
    """There is no browser on this machine."""


class NotThere(Exception):
    """What was waited for did not appear in time."""


class Browser:
    """One window. An element is named by a CSS selector, and waited for."""

    def __init__(self, client: httpx2.Client, session: str) -> None:
        self.client = client
        self.session = session

    # What WebDriver gives and takes is any JSON.
    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = self.client.request(method, f"/session/{self.session}{path}", json=body)
        value = response.json()["value"]
        if response.is_error:
            raise NotThere(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def open(self, url: str) -> None:
        self.command("POST", "/url", {"url": url})

    def find(self, selector: str) -> str:
        found = self.command("POST", "/element", {"using": "css selector", "value": selector})
        element: str = found[ELEMENT]
        return element

    def click(self, selector: str) -> None:
        self._retry(f"click {selector}", lambda: self._on(selector, "click"))

    def write(self, selector: str, text: str) -> None:
        self._retry(f"write into {selector}", lambda: self._on(selector, "value", text=text))

    def wait_for(self, selector: str, text: str = "") -> str:
        """The text of the element, as soon as it is there and contains ``text``."""

        def read() -> str:
            found: str = self.command("GET", f"/element/{self.find(selector)}/text")
            if text not in found:
                raise NotThere(f"{selector} says {found[:200]!r} and not {text!r}")
            return found

        return self._retry(f"read {selector}", read)

    def requested(self) -> list[str]:
        """The address of every request since the last call, from the browser's own network log."""
        entries = self.command("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def picture(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self.command("GET", "/screenshot"))

    def _on(self, selector: str, action: str, **body: str) -> None:
        self.command("POST", f"/element/{self.find(selector)}/{action}", body)

    def _retry(self, what: str, attempt: Callable[[], T]) -> T:
        """Call ``attempt`` until it does not raise ``NotThere``, and return what it returns."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return attempt()
            except NotThere as error:
                if time.monotonic() > deadline:
                    raise NotThere(f"cannot {what}: {error}") from error
                time.sleep(0.1)


def find_driver() -> str:
    """The program that drives the browser. Raises ``Missing`` where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None:
        raise Missing(MISSING)
    return driver


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, gone at the end: the one that chromedriver finds. Raises ``Missing`` where there is none."""
    port = free_port()
    process = subprocess.Popen(
        [find_driver(), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx2.Client(
            base_url=f"http://{HOST}:{port}", timeout=2 * PATIENCE_SECONDS
        ) as client:
            until_ready(client)
            browser = Browser(client, new_session(client))
            try:
                yield browser
            finally:
                browser.command("DELETE", "")
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def until_ready(client: httpx2.Client) -> None:
    for _ in range(PATIENCE_SECONDS * 10):
        try:
            client.get("/status")
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise Missing("chromedriver does not answer")


def new_session(client: httpx2.Client) -> str:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    chrome = {"args": [*OPTIONS, *(["--no-sandbox"] if is_root else [])]}
    wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"performance": "ALL"}}
    response = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()[
        "value"
    ]
    if "sessionId" not in response:
        raise Missing(f"the browser does not start: {response['message'].splitlines()[0]}")
    session: str = response["sessionId"]
    return session
