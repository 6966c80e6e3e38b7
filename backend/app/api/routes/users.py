"""The accounts under their old path: exactly these three, with the rules of v1 because they are its functions."""

from app.api.v1.routes import users
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.core.http.routing import Router

router = Router(prefix="/users", tags=["legacy"], deprecated=True)

router.post(
    "",
    status_code=201,
    responses=errors(*WITH_BODY, 409, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)(users.create_user)
router.get("/me", responses=errors(401, 503))(users.read_me)
router.get("/{user_id}", responses=errors(401, 403, 404, 422, 503))(users.read_user)
