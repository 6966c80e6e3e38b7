"""What the router sees of a request, and what it calls it: /users/{user_id}, never /users/0192..."""

from starlette.types import Scope

UNMATCHED = "__unmatched__"


def route_template(scope: Scope) -> str:
    """The path as it was declared; ``UNMATCHED`` where no route took the request.

    ``scope["route"]`` lacks the prefix of an included router, so FastAPI's own note of the matched route
    comes first. Guessing from ``path`` and ``path_params`` would let /a/5/b/15 invent names of its own.
    Unknown paths and the files of a mounted folder share one name, so that a scanner cannot add any.
    """
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    template: str | None = getattr(route, "path_format", None)
    return template or UNMATCHED


def route_path(scope: Scope) -> str:
    """The path as the router matches it: without the prefix that a proxy in front has added."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(f"{root}/"):
        return path[len(root) :]
    return path
