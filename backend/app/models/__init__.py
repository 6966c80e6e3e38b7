"""Every model. The modules of this folder are imported, so that Alembic and the mapper see each table."""

from importlib import import_module
from pkgutil import iter_modules

from app.models.user import User

__all__ = ["User"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
