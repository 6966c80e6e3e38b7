"""The cache, for an endpoint's signature."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.core.cache.base import Cache


async def get_cache(connection: HTTPConnection) -> Cache:
    """The cache of the application that serves this request."""
    cache: Cache = connection.app.state.cache
    return cache


async def get_user_cache(connection: HTTPConnection) -> Cache:
    """The cache that authentication reads the current user from: a null object unless that was asked for."""
    cache: Cache = connection.app.state.user_cache
    return cache


UserCache = Annotated[Cache, Depends(get_user_cache)]
CacheDep = Annotated[Cache, Depends(get_cache)]
