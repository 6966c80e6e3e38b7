"""What ``make run`` does: migrate, say where things are, serve with reload."""

import os
import socket
import subprocess
import sys

import uvicorn

from app.core.config import PROJECT_ROOT, get_settings

HOST = "127.0.0.1"
LAST_PORT = 65_535
BACKEND = PROJECT_ROOT / "backend"
# For eyes and for reloading, unless the environment or .env says otherwise.
DEVELOPMENT = {"LOG_JSON": "false", "DRAIN_SECONDS": "0"}

BANNER = """
  API documentation   http://{host}:{port}/docs
  First account       curl -X POST http://{host}:{port}/api/v1/users \\
                        -H 'Content-Type: application/json' \\
                        -d '{{"email": "ada@example.com", "password": "correct horse battery staple"}}'
  First admin         make superuser
  Database            {database}
"""


def main() -> None:
    settings = get_settings()
    port = chosen_port()
    if is_taken(port):
        sys.exit(
            f"Port {port} is taken. Stop what listens there, or choose another: make run PORT=8001"
        )
    for name, value in DEVELOPMENT.items():
        if name.lower() not in settings.model_fields_set:
            os.environ[name] = value
    migrate()
    database = settings.model_dump_safe()["database_url"]
    print(BANNER.format(host=HOST, port=port, database=database), flush=True)
    uvicorn.run(
        "app.main:app",
        host=HOST,
        port=port,
        http="httptools",
        reload=True,
        reload_dirs=[str(BACKEND / "app")],
        app_dir=str(BACKEND),
        access_log=False,
        server_header=False,
        log_level="warning",
    )


def chosen_port() -> int:
    wanted = os.environ.get("PORT") or "8000"
    if not (wanted.isascii() and wanted.isdigit()) or not 0 < int(wanted) <= LAST_PORT:
        sys.exit(f"PORT must be a number from 1 to {LAST_PORT}, not {wanted!r}.")
    return int(wanted)


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":  # there, the option would let two servers share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def migrate() -> None:
    command = [
        sys.executable,
        "-m",
        "alembic",
        "-c",
        str(BACKEND / "alembic.ini"),
        "upgrade",
        "head",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        reasons = [line for line in said if not line.startswith("(Background on this error")]
        sys.exit(f"The database could not be migrated: {' '.join(reasons[-1:])}")


if __name__ == "__main__":
    main()
