"""Which files end a transaction themselves. All others leave it to ``get_db``, which rolls back with an error (I-24)."""

import ast
from pathlib import Path

APP = Path(__file__).resolve().parents[3] / "app"
COMMITTING = {
    "auth/account.py",  # nothing is held while a password is hashed
    "auth/dependencies.py",  # a web socket would hold its connection to the database
    "auth/service.py",  # nothing is held while a password is hashed
    "auth/sessions.py",  # the end of a reused session survives its own 401
    "db/session.py",  # get_db
    "jobs/mail.py",
    "jobs/sweep.py",
}


def commits(source: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "commit"
        for node in ast.walk(ast.parse(source))
    )


def test_no_other_file_commits_i_24() -> None:
    found = {
        path.relative_to(APP).as_posix()
        for path in APP.rglob("*.py")
        if commits(path.read_text("utf-8"))
    }
    assert found == COMMITTING
