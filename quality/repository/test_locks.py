"""What is installed is what was locked, and nothing in it has a vulnerability that is known here."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from app.core.config import PROJECT_ROOT
from tests.fixtures.wheel import build_wheel

LOCKS = sorted(path.name for path in (PROJECT_ROOT / "requirements").glob("*.txt"))
APPLICATION_LOCKS = ["base.txt", "dev.txt"]

# The first version without the vulnerability.
FLOORS = {
    "h11": "0.16",  # CVE-2025-43859: lenient chunks smuggle a request
    "pyjwt": "2.13",  # CVE-2026-48526: a public key is taken for an HMAC secret
    "python-multipart": "0.0.31",  # GHSA-v9pg-7xvm-68hf: a negative length buffers without end
    "redis": "4.5.5",  # CVE-2023-28859: a cancelled command gives its reply to the next one
    "starlette": "1.3.1",  # CVE-2026-54283: the limits of a form are ignored
}
# Given up or broken by design. libpass, bcrypt and pyjwt do their work.
BANNED = ["passlib", "python-jose", "ecdsa"]


class Pin(NamedTuple):
    name: str
    version: Version
    hashes: int


def pins(lock: str) -> list[Pin]:
    """Every package of a lock."""
    text = (PROJECT_ROOT / "requirements" / lock).read_text(encoding="utf-8")
    entries = re.findall(r"^(\S+)==(\S+)((?:.*\n)(?:    --hash=.*\n)*)", text, re.MULTILINE)
    return [
        Pin(canonicalize_name(name), Version(version), rest.count("--hash=sha256:"))
        for name, version, rest in entries
    ]


def declared() -> list[Requirement]:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return requirements(sum(extras, start=project["dependencies"]))


def installed() -> list[Requirement]:
    """Without the optional libraries that the application names and nothing of ours imports."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return requirements([*project["dependencies"], *extras["observability"], *extras["dev"]])


def requirements(lines: list[str]) -> list[Requirement]:
    """Without this project itself, by which one extra contains another."""
    return [Requirement(line) for line in lines if not line.startswith("fastapi-backend-template")]


def lower_bound(requirement: Requirement) -> Version:
    """The oldest version that pip may choose."""
    bounds = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    assert len(bounds) == 1, f"{requirement} has no lower bound"
    return bounds[0]


class TestLock:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_holds_every_package_with_version_and_hash(self, lock: str) -> None:
        lines = (PROJECT_ROOT / "requirements" / lock).read_text().splitlines()
        packages = [line for line in lines if line[:1] not in {"", " ", "#"}]

        assert len(pins(lock)) == len(packages) > 20
        assert all(pin.hashes for pin in pins(lock))

    @pytest.mark.parametrize("lock", LOCKS)
    def test_names_no_index(self, lock: str) -> None:
        text = (PROJECT_ROOT / "requirements" / lock).read_text()

        assert "://" not in text
        assert "--index" not in text

    @pytest.mark.parametrize("lock", ["base.txt", "observability.txt"])
    def test_of_the_developer_has_the_versions_of_the_image(self, lock: str) -> None:
        developer = {pin.name: pin.version for pin in pins("dev.txt")}

        assert {pin.name: developer[pin.name] for pin in pins(lock)} == {
            pin.name: pin.version for pin in pins(lock)
        }

    @pytest.mark.parametrize("requirement", installed(), ids=str)
    def test_allows_what_is_declared(self, requirement: Requirement) -> None:
        locked = {pin.name: pin.version for pin in pins("dev.txt")}

        assert locked[canonicalize_name(requirement.name)] in requirement.specifier


class TestKnownVulnerabilities:
    @pytest.mark.parametrize("lock", APPLICATION_LOCKS)
    @pytest.mark.parametrize(("name", "floor"), FLOORS.items())
    def test_are_closed_in_what_is_locked(self, lock: str, name: str, floor: str) -> None:
        versions = [pin.version for pin in pins(lock) if pin.name == name]

        assert versions
        assert min(versions) >= Version(floor)

    def test_are_closed_in_the_oldest_version_that_may_be_chosen(self) -> None:
        bounds = {canonicalize_name(line.name): lower_bound(line) for line in declared()}
        named = bounds.keys() & FLOORS.keys()

        assert named == FLOORS.keys() - {"h11"}  # which comes with uvicorn; httptools parses
        assert not [name for name in named if bounds[name] < Version(FLOORS[name])]

    @pytest.mark.parametrize("name", BANNED)
    def test_are_not_brought_in_by_a_package_that_is_given_up(self, name: str) -> None:
        everything = [pin.name for lock in LOCKS for pin in pins(lock)]

        assert name not in everything
        assert name not in [canonicalize_name(line.name) for line in declared()]


@pytest.mark.slow
@pytest.mark.parametrize("tampered", [False, True])
def test_a_package_with_another_hash_is_not_installed(tmp_path: Path, *, tampered: bool) -> None:
    wheel = build_wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    if tampered:
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    options = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "installed")]

    # The options of scripts/bootstrap.py and the Dockerfile.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", *options),
            *("--require-hashes", "--no-deps", "-r", str(lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tmp_path / "installed" / "tiny.py").exists() is not tampered, done.stderr
    assert ("DO NOT MATCH THE HASHES" in done.stderr) is tampered
