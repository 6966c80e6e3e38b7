"""One application may start, stop and start again, each time on an event loop of its own."""

from fastapi.testclient import TestClient

from app.core.app_factory import create_app
from tests.fixtures.auth import PASSWORD
from tests.fixtures.env import make_settings


def test_application_works_after_a_second_start(database_url: str) -> None:
    app = create_app(make_settings(database_url=database_url))
    seen = []

    for number in range(2):
        account = {"email": f"start{number}@example.com", "password": PASSWORD}
        with TestClient(app) as client:
            created = client.post("/api/v1/users", json=account)
            ready = client.get("/api/v1/health/ready")
            seen.append((created.status_code, ready.status_code))

    assert seen == [(201, 200), (201, 200)]
