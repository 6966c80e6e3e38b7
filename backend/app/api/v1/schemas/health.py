"""Responses of the probes."""

from typing import Literal

from pydantic import BaseModel

from app.core.runtime.readiness import State


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """``checks`` names each dependency that is configured, and ``drain`` while the process leaves."""

    status: State
    checks: dict[str, State]
