"""The versioned API. A new module of routes is one line here."""

from app.api.v1.routes import account, admin, auth, health, users
from app.core.http.routing import Router

router = Router(prefix="/api/v1")
router.include_router(health.router)
router.include_router(auth.router)
router.include_router(account.router)
router.include_router(users.router)
router.include_router(admin.router)
