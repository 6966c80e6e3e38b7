"""Everything of FastAPI that its documentation does not promise stands here, and nowhere else.

Relies on FastAPI 0.165: the names imported from ``fastapi._compat`` and ``fastapi.dependencies``, the keys
``effective_route_context``, ``form_limits`` and ``fastapi_function_astack`` of the scope, and the tree of included
routers (``effective_candidates``, ``effective_low_priority_routes``, ``include_context``, ``original_route``).
``backend/tests/unit/core/test_internals.py`` fails where one of them is gone.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from copy import copy
from typing import Any

from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute, RouteContext
from starlette.routing import BaseRoute
from starlette.types import Scope

__all__ = ["Dependant", "ModelField", "field_annotation_is_sequence", "get_flat_params"]


def effective_context(scope: Scope) -> Any:
    """FastAPI's context of the route that matched the request, as it is included. ``None`` without one."""
    return scope.get("fastapi", {}).get("effective_route_context")


def is_included_in_a_tree(scope: Scope) -> bool:
    """Whether an included router hands the request on, with a part of the path."""
    return "fastapi" in scope


def form_limits_around(scope: Scope) -> Mapping[str, Any]:
    """The limits of forms that the routers around the route set."""
    limits: Mapping[str, Any] = scope.get("fastapi", {}).get("form_limits", {})
    return limits


def function_exit_stack(scope: Scope) -> AsyncExitStack:
    """The stack of dependencies with ``scope="function"``, which is left between the endpoint and the response."""
    stack: AsyncExitStack = scope["fastapi_function_astack"]
    return stack


def is_pure(node: Any) -> bool:
    """Whether there is nothing but API routes in ``node``: an included router, or a route in one."""
    if not hasattr(node, "effective_candidates"):
        return isinstance(getattr(node, "original_route", node), APIRoute)
    return (
        not node.effective_low_priority_routes()
        and not node.include_context.form_limits
        and all(is_pure(candidate) for candidate in node.effective_candidates())
    )


def moved(context: RouteContext) -> BaseRoute:
    """A copy of its route with everything that FastAPI has worked out for it where it is included, its handler too."""
    route = context.original_route
    copied = copy(route)
    for name, value in vars(route).items():
        setattr(copied, name, getattr(context, name, value))
    return copied
