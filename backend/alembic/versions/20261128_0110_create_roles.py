"""create roles

The index over the roles of all accounts is built while accounts cannot be written, about a second for a million of them.

Revision: 0007
Revises: 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("permissions", sa.String(length=2000), nullable=False),
        sa.CheckConstraint("name <> 'admin'", name=op.f("ck_roles_not_admin")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("role", sa.String(length=40), nullable=True))
        users.create_foreign_key(
            op.f("fk_users_role_roles"), "roles", ["role"], ["name"], ondelete="RESTRICT"
        )
        users.create_index("ix_users_role", ["role", "id"])


def downgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.drop_index("ix_users_role")
        users.drop_constraint(op.f("fk_users_role_roles"), type_="foreignkey")
        users.drop_column("role")
    op.drop_table("roles")
