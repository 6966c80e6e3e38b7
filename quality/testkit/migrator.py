"""Alembic in a process of its own: to be raced, blocked and killed."""

import asyncio
import shutil
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from quality.testkit.server import ROOT, variables

INI = ROOT / "backend" / "alembic.ini"


async def migrator(url: str, *arguments: str, ini: Path = INI) -> asyncio.subprocess.Process:
    """``alembic ARGUMENTS`` on the database ``url``; ``upgrade head`` without arguments."""
    return await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "alembic", "-c", str(ini)],
        *(arguments or ("upgrade", "head")),
        env=variables(url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def outcome(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit code and all that it said."""
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


def newest_revision() -> str:
    """Where the project's own migrations end."""
    return ScriptDirectory.from_config(Config(INI)).get_current_head() or ""


def with_migration(folder: Path, statement: str) -> Path:
    """The configuration of a copy of the project's migrations, in ``folder``, with one more that runs ``statement``."""
    backend = INI.parent
    shutil.copytree(backend / "alembic", folder / "alembic")
    here = (folder / "alembic").as_posix().replace("%", "%%")
    settings = INI.read_text(encoding="utf-8").replace("app:../alembic", here)
    (folder / INI.name).write_text(settings, encoding="utf-8")
    (folder / "alembic" / "versions" / "99991231_2359_tried.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision = 'tried', {newest_revision()!r}\n"
        "def upgrade() -> None:\n"
        f"    op.execute({statement!r})\n"
        "def downgrade() -> None: ...\n",
        encoding="utf-8",
    )
    return folder / INI.name
