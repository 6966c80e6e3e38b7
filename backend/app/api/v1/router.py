"""The versioned API. A new module of routes is one line here."""

from app.api.v1.routes import account, admin, audit, auth, health, roles, users
from app.core.http.routing import Router

router = Router(prefix="/api/v1")
router.include_router(health.router)
router.include_router(users.router)
router.include_router(auth.router)
router.include_router(account.router)
router.include_router(admin.router)
router.include_router(roles.router)
router.include_router(audit.router)
