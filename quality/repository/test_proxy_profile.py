"""What the shipped nginx.conf must agree with, read from the file. How it behaves shows `make proxy-profile`."""

import json
import re
from typing import Any

import pytest
import yaml

from app.core.config import PROJECT_ROOT, Settings
from app.core.errors import BY_STATUS
from app.core.middleware.request_guard import MAX_HEADER_BYTES, MAX_URL_BYTES
from app.core.middleware.request_id import incoming_id
from app.core.middleware.security_headers import DEFAULTS

UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
UPSTREAM = r"upstream application \{(.*?)\}"


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def configuration() -> str:
    """The file without its comments."""
    return re.sub(r"^\s*#.*$|;\s+#.*$", ";", read("deploy/nginx/nginx.conf"), flags=re.MULTILINE)


def only(pattern: str, text: str | None = None) -> str:
    """The one match of the group in ``pattern``."""
    (found,) = re.findall(pattern, configuration() if text is None else text, re.DOTALL)
    assert isinstance(found, str)
    return found


def size(text: str) -> int:
    number = text.rstrip("km")
    return int(number) * UNITS[text.removeprefix(number)]


def by_status(name: str) -> dict[int, str]:
    """A ``map $status $name`` of the file, without its default."""
    body = only(rf"map \$status \${name} \{{(.*?)\n    \}}")
    pairs = re.findall(r'(\d{3}) (?:"([^"]*)"|(\S+));', body)
    return {int(status): quoted or bare for status, quoted, bare in pairs}


class TestNumbers:
    def test_the_body_limit_is_the_applications(self) -> None:
        limit = size(only(r"client_max_body_size (\w+);"))

        assert limit == Settings.model_fields["max_body_bytes"].default

    def test_there_is_room_for_every_url_and_header_that_the_application_takes(self) -> None:
        number, each = only(r"large_client_header_buffers (\d+ \w+);").split()

        assert size(each) > MAX_URL_BYTES
        assert int(number) * size(each) > 2 * (MAX_URL_BYTES + MAX_HEADER_BYTES)

    def test_uvicorn_keeps_a_connection_longer_than_nginx_reuses_it(self) -> None:
        idle = int(only(r"keepalive_timeout (\d+)s;", only(UPSTREAM)))
        command = json.loads(
            only(r"CMD (\[\"uvicorn\".*?\])", read("Dockerfile").replace("\\\n", ""))
        )

        assert idle < int(command[command.index("--timeout-keep-alive") + 1])


class TestErrors:
    def test_codes_and_messages_are_those_of_the_application(self) -> None:
        shared = {status: cls for status, cls in BY_STATUS.items() if status in by_status("code")}

        assert {404, 405, 413, 414, 429, 431, 500} <= set(shared)
        for status, cls in shared.items():
            assert by_status("code")[status] == cls.code
        for status, cls in shared.items():
            assert by_status("message")[status] == cls.message

    def test_what_has_no_entry_is_a_bad_request(self) -> None:
        defaults = re.findall(r"map \$status \$\w+ \{\s+default ([^;]+);", configuration())

        assert defaults == [BY_STATUS[400].code, f'"{BY_STATUS[400].message}"']

    def test_every_status_that_gets_the_envelope_has_code_and_message(self) -> None:
        statuses = {int(found) for found in only(r"error_page ([\d ]+) /nginx-error;").split()}

        assert statuses - {400} <= set(by_status("code"))
        assert set(by_status("code")) == set(by_status("message"))

    def test_the_envelope_has_the_fields_of_the_contract(self) -> None:
        envelope = json.loads(only(r"return 500 '(.*?)';"))

        assert list(envelope) == ["error"]
        assert list(envelope["error"]) == ["code", "message", "request_id", "details"]
        assert envelope["error"]["details"] == {}

    @pytest.mark.parametrize("header", DEFAULTS, ids=lambda header: header[0].decode())
    def test_errors_carry_the_security_headers_of_the_application(
        self, header: tuple[bytes, bytes]
    ) -> None:
        name, value = (part.decode() for part in header)
        lines = re.findall(r"add_header (\S+) (.*) always;", only(r"internal;(.*)"))
        sent = {key.lower(): text.strip('"') for key, text in lines}

        assert sent[name] == value


class TestIdentity:
    def test_every_id_that_is_passed_on_is_taken_by_the_application(self) -> None:
        pattern = re.compile(only(r'"~(\^.*?\$)" \$http_x_request_id;').encode())
        passed = [bytes([code]) for code in range(256) if pattern.fullmatch(bytes([code]))]

        assert {b"a", b"Z", b"0", b"-", b"_", b"."} <= set(passed)
        for char in passed:
            assert incoming_id({"headers": [(b"x-request-id", char)]}) == char.decode()

    def test_an_id_has_at_most_the_length_that_the_application_takes(self) -> None:
        pattern = re.compile(only(r'"~(\^.*?\$)" \$http_x_request_id;'))

        assert pattern.fullmatch("a" * 128)
        assert not pattern.fullmatch("a" * 129)

    def test_what_the_client_says_of_its_address_is_replaced(self) -> None:
        assert only(r"proxy_set_header X-Forwarded-For ([^;]+);") == "$remote_addr"
        assert "$proxy_add_x_forwarded_for" not in configuration()


class TestCompose:
    def services(self) -> dict[str, Any]:  # Any: a YAML file may hold anything
        services: dict[str, Any] = yaml.safe_load(read("docker-compose.proxy.yml"))["services"]
        return services

    def test_the_application_believes_the_proxy_and_nobody_else(self) -> None:
        services = self.services()

        address = services["proxy"]["networks"]["default"]["ipv4_address"]
        assert services["app"]["environment"] == {"FORWARDED_ALLOW_IPS": address}

    def test_the_proxy_can_change_nothing_around_it(self) -> None:
        proxy = self.services()["proxy"]

        assert proxy["read_only"] is True
        assert proxy["user"] == "101:101"
        assert proxy["cap_drop"] == ["ALL"]
        assert proxy["security_opt"] == ["no-new-privileges:true"]
        assert all(volume.endswith(":ro") for volume in proxy["volumes"])
        assert {"cpus", "memory", "pids"} <= set(proxy["deploy"]["resources"]["limits"])

    def test_it_is_published_on_loopback_only(self) -> None:
        assert self.services()["proxy"]["ports"] == ["127.0.0.1:${PROXY_PORT:-8080}:8080"]
