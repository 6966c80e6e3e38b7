"""The safety rules of Dockerfile, Compose file and workflows, read from the files: no engine is needed.

A rule is about any service, stage or workflow, not about those that are there today: a worker, another version of a
store, another base image or a workflow that pushes images breaks none.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from app.core.config import DRAIN_SECONDS, PROJECT_ROOT
from tests.fixtures.server import Server, free_port, server_environment

WORKFLOWS = sorted((PROJECT_ROOT / ".github" / "workflows").glob("*.yml"))
WAYS_OUT = {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"}


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    """A YAML file. It may hold anything, hence Any; a wrong guess fails the test."""
    content: dict[str, Any] = yaml.safe_load(read(name))
    return content


def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages as (instruction, arguments), comments dropped and continued lines joined."""
    lines = [line for line in read("Dockerfile").splitlines() if not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        if name:
            found[-1].append((name, " ".join(rest.split())))
    return found


def arguments(name: str) -> list[str]:
    """What the image itself, the last stage, says with an instruction."""
    return [text for instruction, text in stages()[-1] if instruction == name]


def in_exec_form(name: str) -> list[str]:
    words: list[str] = json.loads(arguments(name)[-1])
    return words


class TestImage:
    def test_every_base_has_a_tag(self) -> None:
        bases = [stage[0][1].split()[0] for stage in stages()]

        assert not [base for base in bases if ":" not in base or ":latest" in base]

    def test_packages_come_from_a_hashed_lock(self) -> None:
        everything = [text for stage in stages() for name, text in stage if name == "RUN"]
        installs = [text for text in everything if re.search(r"\bpip\b.* install ", text)]

        assert installs
        assert all("--only-binary :all: --require-hashes --no-deps" in text for text in installs)

    def test_user_is_not_root_and_named_by_number(self) -> None:
        assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", arguments("USER")[-1])

    def test_no_secret_passes_through_the_build(self) -> None:
        names = [text for stage in stages() for name, text in stage if name in {"ARG", "ENV"}]

        assert not re.search(r"SECRET|PASSWORD|TOKEN|DATABASE_URL|REDIS_URL", " ".join(names))

    def test_environment_is_production_and_trusts_no_proxy(self) -> None:
        """FORWARDED_ALLOW_IPS is empty because uvicorn trusts 127.0.0.1 where it is not set."""
        environment = " ".join(arguments("ENV")).split()

        assert {"APP_ENV=production", "FORWARDED_ALLOW_IPS="} <= set(environment)

    def test_signals_reach_the_server(self) -> None:
        assert arguments("STOPSIGNAL") == ["SIGTERM"]
        assert in_exec_form("ENTRYPOINT")[2].endswith('; exec "$@"')
        assert in_exec_form("CMD")[:2] == ["uvicorn", "app.main:app"]

    def test_health_check_asks_the_live_probe_on_the_port_and_host_that_are_served(self) -> None:
        program = arguments("HEALTHCHECK")[-1].partition(" CMD ")[2]

        assert json.loads(program)[:2] == ["python", "-c"]  # the image has neither curl nor wget
        assert "http://127.0.0.1:{port}/api/v1/health/live" in program
        assert "os.environ.get('PORT') or '8000'" in program
        assert "ALLOWED_HOSTS" in program

    @pytest.mark.slow
    def test_command_serves_on_port_and_ends_with_0_at_sigterm(self, tmp_path: Path) -> None:
        port = free_port()
        pairs = [pair.partition("=") for pair in " ".join(arguments("ENV")).split()]
        given = {name: value for name, _, value in pairs if name not in {"PATH", "PYTHONPATH"}}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            [*in_exec_form("ENTRYPOINT"), *in_exec_form("CMD")],
            cwd=tmp_path,
            env={**given, **server_environment(PATH=path), "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Server(process, port, tmp_path / "log")  # type: ignore[arg-type]  # its output is a pipe
        (tmp_path / "log").touch()
        server.wait_until_up()
        server.client.get("/api/v1/users/me", headers={"X-Forwarded-For": "203.0.113.7"})
        code = server.terminate()
        output, _ = process.communicate()
        server.close()

        assert code == 0
        assert '"client": "127.0.0.1"' in output
        assert "203.0.113.7" not in output


def is_ignored(path: str) -> bool:
    """Docker's rule: the last pattern that matches the path or one of its folders decides."""
    ignored = False
    names = [path, *map(str, PurePosixPath(path).parents)][:-1]
    for line in read(".dockerignore").splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        # "**/x" means x at any depth, the top included; "*" stays within one name.
        anywhere = pattern.startswith("**/")
        candidates = [PurePosixPath(name).name for name in names] if anywhere else names
        wanted = pattern.removeprefix("**/")
        depth = wanted.count("/")
        if any(name.count("/") == depth and fnmatch(name, wanted) for name in candidates):
            ignored = not line.strip().startswith("!")
    return ignored


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.production", "backend/.env", "backend/app/core/.env.local"),
        *(".git/config", ".venv/bin/python", "var/local.sqlite3"),
    ],
)
def test_secrets_and_local_files_stay_out_of_the_image(path: str) -> None:
    assert is_ignored(path)


VM = "deploy/vm/compose.yaml"
COMPOSE = {name: load(name)["services"] for name in ("docker-compose.yml", VM)}
PUBLIC = {"caddy"}  # what the world reaches; below 1024, for which it needs a capability


@pytest.mark.parametrize("name", COMPOSE)
class TestCompose:
    def services(self, name: str, which: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return {key: options for key, options in COMPOSE[name].items() if which(options)}

    def test_ports_are_published_on_loopback_only(self, name: str) -> None:
        services = self.services(name, lambda options: bool(options.get("ports")))
        ports = [
            p for key, options in services.items() if key not in PUBLIC for p in options["ports"]
        ]

        assert services
        assert not [port for port in ports if not str(port).startswith("127.0.0.1:")]

    def test_no_service_leaves_its_container_or_gains_rights(self, name: str) -> None:
        assert "docker.sock" not in read(name)
        for key, options in COMPOSE[name].items():
            assert not (WAYS_OUT - ({"cap_add"} if key in PUBLIC else set())) & options.keys()
            assert "no-new-privileges:true" in options["security_opt"]
            assert options["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}

    def test_application_changes_nothing_around_it(self, name: str) -> None:
        stores = {"db", "redis", "mailpit"}
        for options in [each for key, each in COMPOSE[name].items() if key not in stores]:
            assert options["read_only"] is True
            assert options["cap_drop"] == ["ALL"]

    def test_server_keeps_the_health_check_of_the_image(self, name: str) -> None:
        servers = [options for key, options in COMPOSE[name].items() if key.startswith("app")]

        assert servers
        assert not [o for o in servers if {"test", "disable"} & o.get("healthcheck", {}).keys()]

    def test_who_migrates_waits_for_a_database_that_responds(self, name: str) -> None:
        assert "pg_isready" in COMPOSE[name]["db"]["healthcheck"]["test"]
        assert COMPOSE[name]["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"

    def test_grace_period_outlasts_drain_and_graceful_timeout(self, name: str) -> None:
        """The services run the image's command, whose timeout this is."""
        command = in_exec_form("CMD")
        graceful = int(command[command.index("--timeout-graceful-shutdown") + 1])

        for options in [o for key, o in COMPOSE[name].items() if key.startswith("app")]:
            assert "command" not in options
            assert int(options["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS + graceful


def test_proxy_has_as_much_room_on_one_machine_as_before_the_developers_application() -> None:
    here, there = load("docker-compose.proxy.yml")["services"]["proxy"], COMPOSE[VM]["nginx"]

    assert here["tmpfs"] == there["tmpfs"]
    assert here["deploy"] == there["deploy"]
    assert here["image"] == there["image"]


def test_caddy_ends_a_connection_before_nginx_does() -> None:
    keeps, serves, drains = (
        int(number)
        for name, setting in {
            "Caddyfile": "keepalive ",
            "deployment.conf": "keepalive_min_timeout ",
            "deploy.sh": "DRAIN_SECONDS=",
        }.items()
        for number in re.findall(rf"{setting}(\d+)", read(f"deploy/vm/{name}"))
    )

    assert keeps < serves < drains


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestWorkflow:
    def workflow(self, path: Path) -> dict[str, Any]:  # Any: see load
        # YAML 1.1 reads the key "on" as true.
        return {str(key): value for key, value in load(str(path)).items()}

    def test_every_action_is_pinned_by_commit(self, path: Path) -> None:
        uses = re.findall(r"^[ -]*uses: ([^.$\n].*)$", read(str(path)), re.MULTILINE)

        assert not [line for line in uses if not re.match(r"[\w./-]+@[0-9a-f]{40} # v\d", line)]

    def test_nothing_may_write_unless_its_job_says_so(self, path: Path) -> None:
        assert self.workflow(path)["permissions"] in ({}, {"contents": "read"})

    def test_job_that_may_write_does_not_run_for_a_pull_request(self, path: Path) -> None:
        """Neither by its workflow nor, where that runs for one, without a condition."""
        workflow = self.workflow(path)
        writes = [
            options
            for options in workflow["jobs"].values()
            if "write" in options.get("permissions", {}).values()
        ]

        assert "pull_request_target" not in read(str(path))
        assert "pull_request" not in workflow["True"] or all("if" in job for job in writes)

    def test_no_checkout_leaves_credentials_behind(self, path: Path) -> None:
        steps = [
            step for job in self.workflow(path)["jobs"].values() for step in job.get("steps", [])
        ]
        checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]

        assert all(step["with"]["persist-credentials"] is False for step in checkouts)

    def test_every_job_ends_some_time(self, path: Path) -> None:
        """A job that calls another workflow ends with the jobs of that one."""
        jobs = self.workflow(path)["jobs"].values()

        assert all("timeout-minutes" in job or "uses" in job for job in jobs)
