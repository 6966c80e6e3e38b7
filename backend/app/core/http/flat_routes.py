"""One list in place of the tree of included routers, because FastAPI walks a tree once more for each level."""

from copy import copy
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute


def flatten(app: FastAPI) -> None:
    """Replace each tree of API routes by what is in it, with the paths as they are served.

    A tree that holds anything else (a WebSocket, a mount, a frontend, limits of forms) stays as it is, so that FastAPI
    alone decides about it. A router that is included later stays a tree too.
    """
    app.router.routes[:] = [route for included in app.router.routes for route in _flat(included)]


def _flat(included: BaseRoute) -> list[BaseRoute]:
    if not _is_pure(included):
        return [included]
    return [_moved(context.original_route, context) for context in iter_route_contexts([included])]


def _is_pure(node: Any) -> bool:
    """Whether there is nothing but API routes in ``node``: an included router, or a route in one."""
    if not hasattr(node, "effective_candidates"):
        return isinstance(getattr(node, "original_route", node), APIRoute)
    return (
        not node.effective_low_priority_routes()
        and not node.include_context.form_limits
        and all(_is_pure(candidate) for candidate in node.effective_candidates())
    )


def _moved(route: BaseRoute, context: RouteContext) -> BaseRoute:
    """A copy with everything that FastAPI has worked out for it where it is included, its handler among it."""
    moved = copy(route)
    for name, value in vars(route).items():
        setattr(moved, name, getattr(context, name, value))
    return moved
