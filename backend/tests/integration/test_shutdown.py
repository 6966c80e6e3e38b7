"""SIGTERM: readiness says 503 while requests are still served, what runs is finished, the code is 0."""

import os
import signal
import threading
import time

import httpx2
import pytest

from tests.fixtures.server import StartServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send"),
]

READY = "/api/v1/health/ready"


def test_readiness_turns_503_while_other_requests_are_still_served(
    start_server: StartServer, database_url: str
) -> None:
    server = start_server(DATABASE_URL=database_url, DRAIN_SECONDS="1.5")
    assert server.client.get(READY).status_code == 200

    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    ready = httpx2.get(f"{server.client.base_url}{READY}")
    health = httpx2.get(f"{server.client.base_url}/health")

    assert ready.status_code == 503
    assert ready.json() == {"status": "error", "checks": {"db": "ok", "drain": "error"}}
    assert health.json() == {"status": "ok"}
    assert server.process.wait(10) == 0


def test_work_in_flight_is_finished(start_server: StartServer, database_url: str) -> None:
    server = start_server(DATABASE_URL=database_url, PASSWORD_HASH_ROUNDS="13")
    responses: list[httpx2.Response] = []
    body = {"email": "ada@example.com", "password": "correct horse battery staple"}
    create = threading.Thread(
        target=lambda: responses.append(server.client.post("/api/v1/users", json=body))
    )

    create.start()
    time.sleep(0.2)
    code = server.terminate()
    create.join()

    assert [response.status_code for response in responses] == [201]
    assert code == 0


def test_exit_code_is_zero_and_the_last_lines_are_written(start_server: StartServer) -> None:
    server = start_server()

    assert server.terminate() == 0

    assert '"message": "draining"' in server.log
    assert '"message": "Application shutdown complete."' in server.log


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupt_needs_no_drain(start_server: StartServer, interrupts: int) -> None:
    server = start_server(DRAIN_SECONDS="60")

    for _ in range(interrupts):
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.05)

    assert server.process.wait(5) == 0


def test_interrupt_followed_by_sigterm_is_one_stop(
    start_server: StartServer,
) -> None:
    """Ctrl+C reaches the whole group: the server itself, and the reloader, which then ends the server."""
    server = start_server(DRAIN_SECONDS="0")

    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(5) == 0
    assert "Traceback" not in server.log
    assert "Application shutdown complete" in server.log


def test_every_worker_drains(start_server: StartServer, database_url: str) -> None:
    server = start_server("--workers", "2", DATABASE_URL=database_url, DRAIN_SECONDS="0.5")

    while server.log.count("Application startup complete") < 2:
        time.sleep(0.05)

    assert server.terminate() == 0

    assert server.log.count('"message": "draining"') == 2


def test_server_with_an_unread_log_goes_on_serving(start_server: StartServer) -> None:
    never_read, writing = os.pipe()
    server = start_server(stdout=writing)
    os.close(writing)

    # Far more than a pipe holds, which is 64 KiB on Linux.
    codes = {server.client.get("/health").status_code for _ in range(500)}
    code = server.terminate()
    os.close(never_read)

    assert codes == {200}
    assert code == 0
