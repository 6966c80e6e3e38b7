"""What the application does not contain: no interpreter, no deserialiser, no client for other hosts, no home-made crypto,
and no durations by a clock that may step.

A new one needs a change of the list here, and of the rows of quality/docs/ASVS.md that rely on it.
"""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT

APPLICATION = PROJECT_ROOT / "backend" / "app"

# By what an attacker would do with it.
FORBIDDEN = {
    "runs commands": {"subprocess", "pty", "pexpect", "os.system", "os.popen", "os.execv", "os.spawnl"},
    "runs code": {"eval", "exec", "compile", "__import__", "runpy", "code", "importlib.import_module"},
    "revives objects": {"pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle"},
    "reads XML": {"xml", "lxml", "defusedxml", "xmltodict"},
    "asks other hosts": {
        *("urllib.request", "http.client", "httpx", "httpx2", "requests", "aiohttp", "urllib3"),
        *("ftplib", "socket", "websockets", "boto3"),
    },
    "sends mail": {"smtplib", "aiosmtplib", "imaplib"},
    "asks directories": {"ldap", "ldap3", "memcache", "pymemcache"},
    "fills templates": {"jinja2", "mako", "chameleon", "string.Template"},
    "touches memory": {"ctypes", "cffi"},
}  # fmt: skip
# What of that there is all the same.
ALLOWED = {
    "runs code": {
        "models/__init__.py": {"importlib.import_module"}  # the files beside it, by their names
    },
    "asks other hosts": {  # the names of options for keep-alives
        "core/redis/pool.py": {"socket"},
        "db/keepalive.py": {
            *("socket", "socket.AF_INET", "socket.AF_INET6", "socket.IPPROTO_TCP"),
            *("socket.SOL_SOCKET", "socket.SO_KEEPALIVE"),
        },
    },
    "sends mail": {
        "core/mail/smtp.py": {
            *("aiosmtplib", "aiosmtplib.SMTP", "aiosmtplib.SMTPException"),
            *("aiosmtplib.SMTPDataError", "aiosmtplib.SMTPRecipientsRefused"),
        }
    },
}
# The clock on the wall may step back an hour: it makes stamps that others read, and measures nothing.
STAMPS = {
    "auth/jwt.py": {"datetime.now", "time.time"},
    "db/types.py": {"datetime.now", "time.time_ns"},  # a column's default, what an id begins with
}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
# All cryptography and randomness, and where they are.
INVENTORY = {
    "api/v1/once.py": {"hashlib.sha256"},  # what a request is recognised by, no secrets
    "auth/common_passwords.py": {"hashlib.sha256"},  # names of frequent passwords, no secrets
    "auth/jwt.py": {"jwt"},
    "auth/links.py": {"secrets"},
    "auth/opaque.py": {"hashlib", "hmac"},
    "auth/sessions.py": {"hmac.compare_digest"},
    "auth/password.py": {"passlib"},
    "core/middleware/request_id.py": {"random.Random"},  # ids that must be unique and not secret
    "core/settings/postgresql_options.py": {
        "ssl.get_default_verify_paths"
    },  # where sslrootcert=system points
    "core/rate_limit/sliding_window.py": {"hashlib.blake2b"},  # short names of keys, no secrets
    "jobs/worker.py": {"random.Random"},  # when a job is tried again
    "core/telemetry/log.py": {"random.random"},  # which records are sampled
    "core/telemetry/spans.py": {"random.random"},  # which traces are
}
CRYPTOGRAPHY = {
    *("jwt", "passlib", "bcrypt", "argon2", "hashlib", "hmac", "secrets", "random", "ssl", "crypt"),
    *("cryptography", "nacl", "Crypto"),
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, and every member that it takes of one."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str() as module):
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def uses(path: Path) -> frozenset[str]:
    """That, every function that it calls by name, and every member of something with a name."""
    found = set(imports(path))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=function)):
                found.add(function)
            case ast.Attribute(value=ast.Name(id=module), attr=member):
                found.add(f"{module}.{member}")
    return frozenset(found)


def within(name: str, things: set[str]) -> bool:
    return any(name == thing or name.startswith(f"{thing}.") for thing in things)


def files_with(look: Callable[[Path], frozenset[str]], things: set[str]) -> dict[str, set[str]]:
    """The files of the application with what they have of ``things``."""
    found = {
        path.relative_to(APPLICATION).as_posix(): {
            name for name in look(path) if within(name, things)
        }
        for path in APPLICATION.rglob("*.py")
    }
    return {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("danger", FORBIDDEN)
def test_nothing_in_the_application(danger: str) -> None:
    assert files_with(uses, FORBIDDEN[danger]) == ALLOWED.get(danger, {})


def test_cryptography_is_that_of_the_inventory() -> None:
    found = files_with(imports, CRYPTOGRAPHY)

    assert found.keys() == INVENTORY.keys()
    for path, names in found.items():
        assert [name for name in names if not within(name, INVENTORY[path])] == []


def test_the_wall_clock_makes_stamps_and_nothing_else() -> None:
    assert files_with(uses, WALL_CLOCKS) == STAMPS


@pytest.mark.parametrize(
    ("code", "thing"),
    [
        ("import subprocess", "subprocess"),
        ("import xml.etree.ElementTree as e", "xml"),
        ("from xml.sax import parse", "xml"),
        ("from os import system", "os.system"),
        ("import os\nos.system('x')", "os.system"),
        ("eval('1')", "eval"),
        ("def f():\n    import pickle", "pickle"),
        ("from time import time", "time.time"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now"),
    ],
)
def test_each_way_of_using_something_is_seen(tmp_path: Path, code: str, thing: str) -> None:
    path = tmp_path / "code.py"
    path.write_text(code)

    assert any(within(name, {thing}) for name in uses(path))
