"""The unversioned surface: frozen, kept for those who call it. New endpoints go to api/v1."""

from app.api.routes import auth, health
from app.api.v1.routes import users
from app.core.routing import Router

router = Router()
router.include_router(health.router)
router.include_router(auth.router)
# The very endpoints of v1 under their old path, so the rules cannot differ.
router.include_router(users.router, deprecated=True)
