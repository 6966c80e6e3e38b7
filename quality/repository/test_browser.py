"""`make browser`: what it says without a browser, and what it takes for another host."""

from pathlib import Path

import pytest

from quality.browser.__main__ import MISSING, foreign, main


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/swagger-ui.js",
        "http://127.0.0.1:9/docs",
        "http://localhost:8000/docs",
        "http://127.0.0.1:8000@example.com/",
        "//example.com/x",
    ],
)
def test_another_host_or_port_is_foreign(url: str) -> None:
    assert foreign([url], "127.0.0.1:8000") == [url]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/docs", "data:image/svg+xml;base64,PHN2Zz4="]
)
def test_own_server_and_a_picture_in_the_page_are_not(url: str) -> None:
    assert foreign([url], "127.0.0.1:8000") == []


def test_without_a_browser_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["browser"])
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main() == 1
    assert MISSING in capsys.readouterr().err
