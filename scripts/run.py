"""What ``make run`` does: take the port, migrate, say where things are, serve with reload."""

import os
import socket
import subprocess
import sys
from itertools import dropwhile, islice, takewhile

import uvicorn
from uvicorn.supervisors import ChangeReload

from app.core.config import PROJECT_ROOT, get_settings

HOST = "127.0.0.1"
LAST_PORT = 65_535
BACKEND = PROJECT_ROOT / "backend"
# For eyes, unless the environment or .env says otherwise.
DEVELOPMENT = {"LOG_JSON": "false"}

# What SQLAlchemy adds to the text of an error.
AFTER_THE_ERROR = ("[SQL:", "[parameters:", "(Background on this error")
REASON_LINES = 5

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
    # Listened on from here on: who is started beside this one finds the port taken, and never says that it serves.
    listener = listen(port)
    for name, value in DEVELOPMENT.items():
        if name.lower() not in settings.model_fields_set:
            os.environ[name] = value
    migrate()
    database = settings.model_dump_safe()["database_url"]
    print(BANNER.format(host=HOST, port=port, database=database), flush=True)
    serve(listener)


def chosen_port() -> int:
    wanted = os.environ.get("PORT") or "8000"
    if not (wanted.isascii() and wanted.isdigit()) or not 0 < int(wanted) <= LAST_PORT:
        sys.exit(f"PORT must be a number from 1 to {LAST_PORT}, not {wanted!r}.")
    return int(wanted)


def listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except PermissionError:
        sys.exit(f"Port {port} needs more rights. Choose another: make run PORT=8001")
    except OSError:
        sys.exit(
            f"Port {port} is taken. Stop what listens there, or choose another: make run PORT=8001"
        )


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
        reason = reason_of(done.stderr.strip() or done.stdout.strip())
        sys.exit(f"The database could not be migrated: {reason}\nThe whole of it: make db-upgrade")


def reason_of(output: str) -> str:
    """What a failed command says: the error below its traceback without the statement, or else its last line."""
    lines = output.splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not frames:
        return lines[-1] if lines else "it said nothing"
    below = dropwhile(lambda line: line.startswith(" "), lines[frames[-1] :])
    error = takewhile(lambda line: not line.startswith(AFTER_THE_ERROR), below)
    return "\n".join(islice(error, REASON_LINES))


def serve(listener: socket.socket) -> None:
    config = uvicorn.Config(
        "app.main:app",
        http="httptools",
        reload=True,
        reload_dirs=[str(BACKEND / "app")],
        access_log=False,
        server_header=False,
        log_level="warning",
        workers=1,  # reloading needs one; and uvicorn cannot read an empty WEB_CONCURRENCY
        # uvicorn itself would believe whatever comes from this machine.
        forwarded_allow_ips=",".join(get_settings().forwarded_allow_ips),
    )
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=[listener]).run()


if __name__ == "__main__":
    main()
