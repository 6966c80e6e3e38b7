"""What the README promises about start, memory and a login flood, measured on this machine: ``make bench``.

Serves the application on the database of DATABASE_URL (its name must end in _test), or on SQLite in a temporary
folder, with the default settings of production, and prints one line for each figure beside its promise.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
EMAIL, PASSWORD = "bench@example.com", "correct horse battery staple"

STARTS = 5
REQUESTS = 10_000
LOGIN_CLIENTS = 8
FLOOD_SECONDS = 15.0
START_LIMIT_SECONDS = 1.5
MEMORY_LIMIT_MIB = 90.0
HEALTH_LIMIT_MS = 50.0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("DATABASE_URL") or f"sqlite:///{Path(folder, 'bench_test.db')}"
        if not url.removesuffix(".db").endswith("_test"):
            sys.exit("The benchmark writes accounts: the name of its database must end in _test.")
        environment = {
            **os.environ,
            "APP_ENV": "production",
            "JWT_SECRET_KEY": os.urandom(32).hex(),
            "DATABASE_URL": url,
            "DRAIN_SECONDS": "0",
            "PYTHONPATH": str(ROOT / "backend"),
        }
        alembic = ["-m", "alembic", "-c", str(ROOT / "backend" / "alembic.ini"), "upgrade", "head"]
        subprocess.run([sys.executable, *alembic], env=environment, check=True, capture_output=True)
        return report(environment)


def report(environment: dict[str, str]) -> int:
    starts = sorted(measure_start(environment) for _ in range(STARTS))
    port, server = start(environment)
    try:
        wait_until_up(port)
        token = sign_in(port)
        serve_requests(port, token)
        memory = resident_mib(server.pid)
        calm = probe_health(port, flood=False)
        flooded = probe_health(port, flood=True)
    finally:
        server.terminate()
        server.wait()
    results = [
        ("first 200 after the start, median", statistics.median(starts), START_LIMIT_SECONDS, "s"),
        (f"resident after {REQUESTS:,} requests", memory, MEMORY_LIMIT_MIB, "MiB"),
        ("health p99, calm", percentile(calm, 99), HEALTH_LIMIT_MS, "ms"),
        (f"health p99, {LOGIN_CLIENTS} log in", percentile(flooded, 99), HEALTH_LIMIT_MS, "ms"),
    ]
    for name, measured, limit, unit in results:
        print(f"{name:36} {measured:8.2f} {unit:4} promised: at most {limit:g} {unit}")
    return int(any(measured > limit for _, measured, limit, _ in results))


def start(environment: dict[str, str]) -> tuple[int, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    command += ["--http", "httptools", "--no-access-log", "--no-server-header"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    return port, process


def wait_until_up(port: int) -> None:
    while True:
        try:
            request(http.client.HTTPConnection(HOST, port), "GET", "/health")
        except ConnectionError:
            time.sleep(0.005)
        else:
            return


def measure_start(environment: dict[str, str]) -> float:
    began = time.monotonic()
    port, server = start(environment)
    wait_until_up(port)
    seconds = time.monotonic() - began
    server.terminate()
    server.wait()
    return seconds


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def sign_in(port: int) -> str:
    connection = http.client.HTTPConnection(HOST, port)
    account = json.dumps({"email": EMAIL, "password": PASSWORD})
    request(connection, "POST", "/api/v1/users", account, {"Content-Type": "application/json"})
    status, body = log_in(connection)
    if status != http.HTTPStatus.OK:
        sys.exit(f"login answered {status}: {body.decode()}")
    return str(json.loads(body)["access_token"])


def log_in(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    form = urlencode({"username": EMAIL, "password": PASSWORD})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(connection, "POST", "/auth/login", form, headers)


def serve_requests(port: int, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}

    def client() -> None:
        connection = http.client.HTTPConnection(HOST, port)
        for _ in range(REQUESTS // LOGIN_CLIENTS):
            status, _ = request(connection, "GET", "/api/v1/users/me", headers=headers)
            if status != http.HTTPStatus.OK:
                raise SystemExit(f"who-am-I answered {status}")

    in_threads(LOGIN_CLIENTS, client)


def in_threads(number: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def probe_health(port: int, *, flood: bool) -> list[float]:
    """How long /health takes, one request after the other, in milliseconds."""
    end = time.monotonic() + FLOOD_SECONDS
    threads = [
        threading.Thread(target=flood_logins, args=(port, end)) for _ in range(LOGIN_CLIENTS)
    ]
    for thread in threads if flood else []:
        thread.start()
    connection = http.client.HTTPConnection(HOST, port)
    taken = []
    while time.monotonic() < end:
        began = time.perf_counter()
        request(connection, "GET", "/health")
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(0.002)
    for thread in threads if flood else []:
        thread.join()
    return taken


def flood_logins(port: int, end: float) -> None:
    connection = http.client.HTTPConnection(HOST, port)
    while time.monotonic() < end:
        log_in(connection)


def resident_mib(pid: int) -> float:
    if not Path("/proc").exists():
        output = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607  where there is no /proc
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return int(output) / 1024
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    sys.exit(main())
