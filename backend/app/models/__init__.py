"""Every model, imported here so that Alembic sees its table."""

from app.models.user import User

__all__ = ["User"]
