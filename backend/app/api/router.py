"""The unversioned API: frozen, kept for those who call it. New endpoints go to api/v1."""

from app.api.routes import auth, health, users
from app.core.http.routing import Router

router = Router()
router.include_router(health.router)
router.include_router(auth.router)
router.include_router(users.router)
