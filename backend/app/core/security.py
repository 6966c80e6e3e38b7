"""Kept so that ``from app.core.security import hash_password`` goes on working."""

from app.auth.password import hash_password, verify_password

__all__ = ["hash_password", "verify_password"]
