"""add display name and version of users

``version`` has a constant default and nothing is rewritten. On PostgreSQL the address sorts by code points, so that its index
serves a prefix and an order that no locale changes: the table stays as it is, and its index is built again while the
table is locked, 0.4 s for a million accounts.

Revision: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FEW = {
    "ix_users_admins": ("is_superuser", "is_superuser = 1"),
    "ix_users_deactivated": ("NOT is_active", "is_active = 0"),
}


def upgrade() -> None:
    op.add_column("users", sa.Column("display_name", sa.String(length=100), nullable=True))
    op.add_column("users", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    sort_addresses(' COLLATE "C"')
    for name, (postgresql, sqlite) in FEW.items():
        op.create_index(
            name,
            "users",
            ["id"],
            postgresql_where=sa.text(postgresql),
            sqlite_where=sa.text(sqlite),
        )


def downgrade() -> None:
    for name in FEW:
        op.drop_index(name, "users")
    sort_addresses("")
    op.drop_column("users", "version")
    op.drop_column("users", "display_name")


def sort_addresses(collation: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(254){collation}")
