"""GET /health, frozen: exactly {"status":"ok"}."""

from app.api.v1.schemas.error import errors
from app.api.v1.schemas.health import Health
from app.core.http.routing import Router

router = Router(tags=["legacy"])


@router.get("/health", responses=errors())
async def health() -> Health:
    """Whether the process runs. Probes use /api/v1/health/live and /api/v1/health/ready."""
    return Health()
