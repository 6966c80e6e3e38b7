"""One list in place of the tree of included routers, because FastAPI walks a tree once more for each level."""

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from app.core.http.fastapi_internals import is_pure, moved


def flatten(app: FastAPI) -> None:
    """Replace each tree of API routes by what is in it, with the paths as they are served.

    A tree that holds anything else (a WebSocket, a mount, a frontend, limits of forms) stays as it is, so that FastAPI
    alone decides about it. A router that is included later stays a tree too.
    """
    app.router.routes[:] = [route for included in app.router.routes for route in _flat(included)]


def _flat(included: BaseRoute) -> list[BaseRoute]:
    if not is_pure(included):
        return [included]
    return [moved(context) for context in iter_route_contexts([included])]
