"""The name of a route for logs and metrics: /users/{user_id}, never /users/0192..."""

from starlette.types import Scope

UNMATCHED = "__unmatched__"


def route_template(scope: Scope) -> str:
    """The path with its parameters named again; ``UNMATCHED`` where no route took the request.

    Derived from the public ``path`` and ``path_params``, because ``scope["route"].path`` lacks the prefix
    of an included router. Unknown paths share one name, so that a scanner cannot add names.
    """
    if "endpoint" not in scope:
        return UNMATCHED
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        before, found, after = path.rpartition(str(value))
        if found:
            path = f"{before}{{{name}}}{after}"
    return path
