"""What is changed, and the tests that must notice: for each module those that answer for it, cheap ones first."""

from pathlib import Path

APP = Path("backend/app")
TESTS = Path("backend/tests")

ENVELOPE = "integration/test_error_envelope.py"
DOCS = "integration/test_docs.py"
EDGE = "integration/test_http_edge.py"
LOGIN = "integration/api/test_auth.py"
LOGIN_ATTACKS = "integration/api/test_login_attacks.py"
OVERLOAD = "integration/test_overload.py"
RATE_LIMIT = "integration/test_rate_limit.py"
REGISTRATION = "integration/api/test_registration_attacks.py"
STACK = "unit/core/middleware/test_stack.py"
TOKENS = "integration/api/test_token_attacks.py"
USER_CACHE = "integration/test_user_cache.py"
USERS = "integration/api/v1/test_users.py"


def layer(name: str, *others: str) -> list[str]:
    """The tests of a middleware: its own, what holds for each of them, and ``others``."""
    return [f"unit/core/middleware/test_{name}.py", STACK, *others]


ANSWERING = {
    "auth/caller.py": [USER_CACHE, LOGIN],
    "auth/dependencies.py": [USERS, USER_CACHE, DOCS, LOGIN, TOKENS],
    "auth/emails.py": ["unit/auth/test_emails.py", REGISTRATION],
    "auth/common_passwords.py": ["unit/auth/test_common_passwords.py", "unit/auth/test_policy.py"],
    "auth/rate_limit_key.py": ["unit/auth/test_rate_limit_key.py", RATE_LIMIT],
    "auth/jwt.py": ["unit/auth/test_jwt.py", TOKENS],
    "auth/password.py": ["unit/auth/test_password.py", LOGIN_ATTACKS],
    "auth/policy.py": ["unit/auth/test_policy.py", REGISTRATION],
    "auth/service.py": [USERS, LOGIN, LOGIN_ATTACKS],
    "auth/throttle.py": ["integration/test_login_throttle.py"],
    "auth/vanished.py": ["integration/test_vanished_caller.py"],
    "core/errors.py": ["unit/core/test_errors.py", ENVELOPE],
    "core/exception_handlers.py": ["unit/core/test_exception_handlers.py", ENVELOPE, EDGE],
    "core/middleware/__init__.py": [STACK, "integration/test_cors.py", OVERLOAD, RATE_LIMIT],
    "core/middleware/adaptive_limit.py": layer("adaptive_limit", OVERLOAD),
    "core/middleware/body_limit.py": layer("body_limit", "integration/test_bodies.py", EDGE),
    "core/middleware/concurrency_limit.py": layer("concurrency_limit", OVERLOAD),
    "core/middleware/cors.py": [STACK, "integration/test_cors.py"],
    "core/middleware/error_boundary.py": layer("error_boundary", ENVELOPE),
    "core/middleware/request_guard.py": layer("request_guard", EDGE),
    "core/middleware/request_id.py": layer("request_id", "integration/test_request_id.py"),
    "core/middleware/request_logging.py": layer(
        "request_logging", "integration/test_request_logging.py"
    ),
    "core/middleware/security_headers.py": layer(
        "security_headers", "integration/test_security_headers.py"
    ),
}
FOLDERS = ["auth", "core/middleware"]


def modules(chosen: list[str]) -> dict[Path, list[str]]:
    """The modules that were chosen by name or folder, all without a choice, each with its test files.

    Raises ``LookupError`` for a module of the folders without a row, and for a choice that holds none.
    """
    present = {
        file.relative_to(APP).as_posix()
        for folder in FOLDERS
        for file in (APP / folder).rglob("*.py")
        if file.read_bytes()
    }
    if missing := present - ANSWERING.keys():
        raise LookupError(f"no tests answer for {', '.join(sorted(missing))}: see {__file__}")
    found = {
        APP / name: [(TESTS / test).as_posix() for test in tests]
        for name, tests in ANSWERING.items()
        if not chosen or any(Path(name).is_relative_to(choice) for choice in chosen)
    }
    if not found:
        raise LookupError(f"there is no such module here: {', '.join(chosen)}")
    return found
