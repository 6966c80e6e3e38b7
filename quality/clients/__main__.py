"""Two generators of clients read the OpenAPI document, and what they make works against a running server: ``make clients``.

openapi-python-client and openapi-typescript, which share no code with this project: a document that only FastAPI itself
understands would be of no use to a front end. Both clients log in, walk a list page by page, change an account under the
condition that it is as they have read it, and are refused the second time. Needs Node.js, and the two registries.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from quality.testkit.client import Connection
from quality.testkit.server import HOST, alembic, serving, variables
from quality.testkit.services import PASSWORD, create_accounts

HERE = Path(__file__).parent
GENERATOR = "openapi-python-client==0.29.1"
PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
ADMIN = "admin@example.com"
OTHERS = 24  # accounts beside the admin: three pages of ten, the last one not full
STRICT = ("--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext")


def main() -> int:
    if shutil.which("npm") is None:
        print("npm is missing: it comes with Node.js.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(check(Path(folder)))


async def check(folder: Path) -> int:
    environment = variables(
        f"sqlite:///{(folder / 'clients.sqlite3').as_posix()}", DOCS_ENABLED="true"
    )
    alembic(environment, "upgrade", "head")
    await create_accounts(environment["DATABASE_URL"], ADMIN, is_superuser=True)
    addresses = [f"{number}@example.com" for number in range(OTHERS)]
    await create_accounts(environment["DATABASE_URL"], *addresses)
    async with serving(folder, environment) as server:
        connection = Connection(server.port)
        document = folder / "openapi.json"
        document.write_bytes((await connection.get("/openapi.json")).body)
        connection.close()
        told = {
            "API": f"http://{HOST}:{server.port}",
            "EMAIL": ADMIN,
            "PASSWORD": PASSWORD,
            "ACCOUNTS": str(OTHERS + 1),
        }
        for client in (python_client, typescript_client):
            try:
                await asyncio.to_thread(client, folder, document, {**os.environ, **told})
            except subprocess.CalledProcessError as error:
                print(f"FAIL  {client.__name__}: {error}", file=sys.stderr)
                return 1
            print(f"ok    {client.__name__}", flush=True)
    return 0


def python_client(folder: Path, document: Path, environment: dict[str, str]) -> None:
    """Generate, and run ``walk.py`` with the package ``generated``."""
    home = folder / "python"
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", GENERATOR)
    generated = folder / "generated"
    run(
        *(programs / "openapi-python-client", "generate", "--meta", "none"),
        *("--path", document, "--output-path", generated),
        env={**environment, "PATH": os.pathsep.join((str(programs), environment["PATH"]))},
    )
    path = {**environment, "PYTHONPATH": str(folder)}
    run(programs / "python", HERE / "walk.py", env=path)


def typescript_client(folder: Path, document: Path, environment: dict[str, str]) -> None:
    """Generate the types, check ``walk.ts`` against them as strictly as the compiler can, and run it."""
    home = folder / "typescript"
    home.mkdir()
    (home / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    npm = shutil.which("npm") or "npm"
    run(npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES, cwd=home)
    programs = home / "node_modules" / ".bin"
    run(programs / "openapi-typescript", document, "--output", "schema.ts", cwd=home)
    shutil.copy(HERE / "walk.ts", home)
    run(programs / "tsc", *STRICT, "--outDir", ".", "walk.ts", cwd=home)
    run(shutil.which("node") or "node", "walk.js", cwd=home, env=environment)


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=cwd, env=env)


if __name__ == "__main__":
    sys.exit(main())
