"""What Dockerfile, docker-compose.yml and the workflows promise, read from the files: no engine is needed."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from app.core.config import DRAIN_SECONDS, PROJECT_ROOT
from tests.fixtures.server import Server, free_port, server_environment

LOOPBACK = "127.0.0.1:"
BACKEND_SERVICES = ["app", "migrate"]
STORES = ["db", "redis"]


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    """A YAML file. It may hold anything, hence Any; a wrong guess fails the test."""
    content: dict[str, Any] = yaml.safe_load(read(name))
    return content


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), comments dropped and continued lines joined."""
    lines = [line for line in read("Dockerfile").splitlines() if not line.startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    pairs = [line.strip().partition(" ") for line in logical if line.strip()]
    return [(name, " ".join(arguments.split())) for name, _, arguments in pairs]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def arguments(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [text for instruction, text in stage if instruction == name]


def server_command() -> list[str]:
    command: list[str] = json.loads(arguments(stages()[-1], "CMD")[-1])
    return command


def entry_point() -> list[str]:
    """What the image puts in front of every command."""
    wrapper: list[str] = json.loads(arguments(stages()[-1], "ENTRYPOINT")[-1])
    return wrapper


def image_environment() -> dict[str, str]:
    """What the image sets, where it is not about its own folders; and this environment's uvicorn."""
    pairs = [pair.partition("=") for pair in arguments(stages()[-1], "ENV")[0].split()]
    ours = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    given = {name: value for name, _, value in pairs if name not in {"PATH", "PYTHONPATH"}}
    return given | server_environment(**ours)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def seconds(duration: str) -> float:
    assert re.fullmatch(r"\d+s", duration), f"not in whole seconds: {duration}"
    return float(duration[:-1])


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


class TestImage:
    def test_it_is_built_in_two_stages_on_one_slim_base(self) -> None:
        bases = [arguments(stage, "FROM")[0].split()[0] for stage in stages()]

        assert len(bases) == 2
        assert len(set(bases)) == 1
        assert arguments(stages()[0], "FROM")[0].endswith(" AS build")
        assert re.fullmatch(r"python:3\.\d+-slim(@sha256:[0-9a-f]{64})?", bases[0])

    def test_packages_come_from_the_hashed_lock_alone(self) -> None:
        installs = [text for name, text in instructions() if name == "RUN" and " install " in text]

        assert len(installs) == 1
        assert "--require-hashes --no-deps -r requirements/base.txt" in installs[0]

    def test_nothing_is_compiled_from_source(self) -> None:
        everything = " ".join(text for _, text in instructions())

        assert "--only-binary :all:" in everything
        assert not re.search(r"\b(apt-get|apk|gcc|build-essential)\b", everything)

    def test_the_final_stage_installs_nothing(self) -> None:
        final = stages()[-1]

        assert not any(re.search(r"\b(pip|uv)\b", text) for text in arguments(final, "RUN"))
        assert all(text.startswith("--from=build ") for text in arguments(final, "COPY"))

    def test_bytecode_of_packages_and_application_is_compiled_at_build(self) -> None:
        compiled = [text for text in arguments(stages()[0], "RUN") if "-m compileall" in text]

        assert len(compiled) == 1
        assert "/opt/venv backend" in compiled[0]
        assert "PYTHONDONTWRITEBYTECODE" not in read("Dockerfile")

    def test_it_runs_as_a_fixed_user_that_is_not_root(self) -> None:
        assert arguments(stages()[-1], "USER") == ["10001:10001"]

    def test_it_counts_as_production_unless_told_otherwise(self) -> None:
        assert "APP_ENV=production" in arguments(stages()[-1], "ENV")[0].split()

    def test_no_secret_is_passed_through_the_build(self) -> None:
        assert not [text for name, text in instructions() if name == "ARG"]

    def test_the_command_is_in_exec_form_and_starts_the_stable_entry_point(self) -> None:
        assert server_command()[:2] == ["uvicorn", "app.main:app"]

    def test_the_shell_in_front_becomes_the_command(self) -> None:
        assert entry_point()[:2] == ["sh", "-c"]
        assert entry_point()[2].endswith('; exec "$@"')

    def test_it_listens_where_the_health_check_asks(self) -> None:
        (check,) = arguments(stages()[-1], "HEALTHCHECK")

        assert "UVICORN_PORT=${PORT:-8000} " in entry_point()[2]
        assert "WEB_CONCURRENCY=${WEB_CONCURRENCY:-1};" in entry_point()[2]
        assert "--port" not in server_command()
        assert "port = os.environ.get('PORT') or '8000'" in check

    def test_no_proxy_is_believed_that_was_not_named(self) -> None:
        """Empty, because uvicorn believes 127.0.0.1 where it is not set."""
        assert "FORWARDED_ALLOW_IPS=" in arguments(stages()[-1], "ENV")[0].split()
        assert not [text for text in server_command() if "forwarded" in text]

    @pytest.mark.slow
    def test_its_command_serves_on_port_and_ends_with_0_at_sigterm(self, tmp_path: Path) -> None:
        port = free_port()
        process = subprocess.Popen(
            [*entry_point(), *server_command()],
            cwd=tmp_path,
            env={**image_environment(), "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Server(process, port, tmp_path / "log")  # type: ignore[arg-type]  # its output is a pipe
        (tmp_path / "log").touch()
        server.wait_until_up()
        server.client.get("/api/v1/users/me", headers={"X-Forwarded-For": "203.0.113.7"})
        code = server.terminate()
        said, _ = process.communicate()
        server.close()

        assert code == 0
        assert '"client": "127.0.0.1"' in said
        assert "203.0.113.7" not in said

    def test_the_server_parses_with_httptools_and_says_little(self) -> None:
        command = server_command()

        assert option(command, "--http") == "httptools"
        assert {"--no-access-log", "--no-server-header"} <= set(command)
        assert "--reload" not in command

    def test_it_is_stopped_by_sigterm(self) -> None:
        assert arguments(stages()[-1], "STOPSIGNAL") == ["SIGTERM"]

    def test_the_health_check_asks_the_live_probe_in_python(self) -> None:
        (check,) = arguments(stages()[-1], "HEALTHCHECK")
        program: list[str] = json.loads(check.partition(" CMD ")[2])

        assert program[:2] == ["python", "-c"]
        assert "http://127.0.0.1:{port}/api/v1/health/live" in program[2]
        assert not re.search(r"\b(curl|wget)\b", check)

    def test_the_health_check_names_a_host_that_is_served(self) -> None:
        (check,) = arguments(stages()[-1], "HEALTHCHECK")

        assert "ALLOWED_HOSTS" in check
        assert "headers={'Host': host}" in check


class TestBuildContext:
    @pytest.mark.parametrize(
        "path",
        [
            ".env",
            ".env.production",
            "backend/.env",
            "backend/app/.env",
            "backend/app/core/.env.local",
            ".git/config",
            ".venv/bin/python",
            "var/local.sqlite3",
            "backend/tests/unit/test_x.py",
            "backend/docs/ONBOARDING.md",
            "backend/app/README.md",
            "backend/app/core/__pycache__/config.cpython-313.pyc",
        ],
    )
    def test_what_does_not_belong_into_an_image_stays_out(self, path: str) -> None:
        assert is_ignored(path)

    def test_everything_the_image_copies_gets_in(self) -> None:
        sources = [text.split()[0] for text in arguments(stages()[0], "COPY")]

        assert {"requirements/base.txt", "backend/app", "backend/alembic"} <= set(sources)
        assert not [source for source in sources if is_ignored(source)]
        assert not [source for source in sources if not (PROJECT_ROOT / source).exists()]


class TestCompose:
    def services(self) -> dict[str, Any]:  # Any: see load
        services: dict[str, Any] = load("docker-compose.yml")["services"]
        return services

    def test_it_runs_the_application_its_migrations_postgresql_16_and_redis_7(self) -> None:
        services = self.services()

        assert sorted(services) == ["app", "db", "migrate", "redis"]
        assert services["db"]["image"].startswith("postgres:16")
        assert services["redis"]["image"].startswith("redis:7")

    def test_the_application_is_started_as_in_the_image(self) -> None:
        assert shlex.split(self.services()["app"]["command"]) == server_command()

    def test_the_application_waits_until_the_database_is_migrated(self) -> None:
        services = self.services()

        assert services["app"]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }
        assert services["migrate"]["depends_on"]["db"] == {"condition": "service_healthy"}
        assert services["migrate"]["command"] == "alembic -c backend/alembic.ini upgrade head"

    def test_the_application_does_not_wait_for_redis_to_be_healthy(self) -> None:
        assert self.services()["app"]["depends_on"]["redis"] == {"condition": "service_started"}

    def test_migrations_run_in_the_same_image(self) -> None:
        services = self.services()

        assert services["app"]["build"] == services["migrate"]["build"] == "."

    @pytest.mark.parametrize("service", ["app", *STORES])
    def test_ports_are_published_on_loopback_only(self, service: str) -> None:
        ports = self.services()[service]["ports"]

        assert len(ports) == 1
        assert ports[0].startswith(LOOPBACK)

    def test_port_of_the_env_file_does_not_reach_into_the_container(self) -> None:
        for name in BACKEND_SERVICES:
            assert self.services()[name]["environment"]["PORT"] == "8000"

    def test_port_chooses_where_the_application_listens(self) -> None:
        assert self.services()["app"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]

    @pytest.mark.parametrize("service", STORES)
    def test_stores_have_a_health_check(self, service: str) -> None:
        assert self.services()[service]["healthcheck"]["test"][0] == "CMD"

    def test_the_health_check_of_the_application_is_that_of_the_image(self) -> None:
        check = self.services()["app"]["healthcheck"]

        assert "test" not in check
        assert "disable" not in check

    @pytest.mark.parametrize("service", BACKEND_SERVICES)
    def test_the_application_can_change_nothing_around_it(self, service: str) -> None:
        options = self.services()[service]

        assert options["read_only"] is True
        assert options["cap_drop"] == ["ALL"]
        assert options["security_opt"] == ["no-new-privileges:true"]
        assert options["tmpfs"] == ["/tmp"]  # noqa: S108  a path in the container
        assert "volumes" not in options

    @pytest.mark.parametrize("service", [*BACKEND_SERVICES, *STORES])
    def test_every_service_is_bounded_in_cpu_memory_and_processes(self, service: str) -> None:
        options = self.services()[service]

        assert {"cpus", "memory", "pids"} <= set(options["deploy"]["resources"]["limits"])
        assert "pids_limit" not in options  # Compose refuses both in one service

    def test_the_grace_period_outlasts_drain_and_graceful_timeout(self) -> None:
        drain = DRAIN_SECONDS
        graceful = float(option(server_command(), "--timeout-graceful-shutdown"))

        assert seconds(self.services()["app"]["stop_grace_period"]) > drain + graceful

    @pytest.mark.parametrize("service", BACKEND_SERVICES)
    def test_it_starts_without_any_env_file(self, service: str) -> None:
        options = self.services()[service]

        assert options["env_file"] == [{"path": ".env", "required": False}]
        assert options["environment"]["APP_ENV"] == "${APP_ENV:-local}"

    @pytest.mark.parametrize("service", BACKEND_SERVICES)
    def test_the_application_finds_the_stores_by_their_service_names(self, service: str) -> None:
        environment = self.services()[service]["environment"]

        assert environment["DATABASE_URL"] == "postgresql://app:app@db:5432/app"
        assert environment["REDIS_URL"] == "redis://redis:6379/0"

    def test_the_data_of_postgresql_outlives_its_container(self) -> None:
        (volume,) = self.services()["db"]["volumes"]

        assert volume == "postgres-data:/var/lib/postgresql/data"
        assert "postgres-data" in load("docker-compose.yml")["volumes"]

    def test_no_service_gets_the_docker_socket(self) -> None:
        assert "docker.sock" not in read("docker-compose.yml")

    def test_no_service_is_let_out_of_its_container(self) -> None:
        ways_out = {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"}

        assert not [name for name, options in self.services().items() if ways_out & options.keys()]

    def test_no_service_gains_rights_that_it_did_not_start_with(self) -> None:
        for options in self.services().values():
            assert options["security_opt"] == ["no-new-privileges:true"]


WORKFLOWS = sorted(
    str(path.relative_to(PROJECT_ROOT)) for path in PROJECT_ROOT.glob(".github/workflows/*.yml")
)
# The one job that may write, and what for.
MAY_WRITE = {"sbom": {"contents": "write"}}
TAKES_LONG = {"proofs": 30, "newest": 30, "lowest": 30, "full": 120}  # minutes


@pytest.mark.parametrize("name", WORKFLOWS)
class TestEveryWorkflow:
    def jobs(self, name: str) -> dict[str, Any]:  # Any: see load
        jobs: dict[str, Any] = load(name)["jobs"]
        return jobs

    def test_every_action_is_pinned_by_commit_and_names_its_version(self, name: str) -> None:
        uses = re.findall(r"^ *- uses: (.*)$", read(name), re.MULTILINE)

        assert uses
        assert not [
            line for line in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line)
        ]

    def test_it_has_no_permission_beyond_reading_the_repository(self, name: str) -> None:
        assert load(name)["permissions"] == {}
        for job, options in self.jobs(name).items():
            assert options["permissions"] == MAY_WRITE.get(job, {"contents": "read"})

    def test_what_may_write_runs_for_a_release_alone_and_without_a_cache(self, name: str) -> None:
        for job in self.jobs(name).keys() & MAY_WRITE.keys():
            options = self.jobs(name)[job]

            assert options["if"] == "github.event_name == 'release'"
            assert not [step for step in options["steps"] if "cache" in step.get("with", {})]

    def test_no_checkout_leaves_credentials_behind(self, name: str) -> None:
        checkouts = [
            step
            for job in self.jobs(name).values()
            for step in job["steps"]
            if step.get("uses", "").startswith("actions/checkout@")
        ]

        assert len(checkouts) == len(self.jobs(name))
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)

    def test_code_from_a_fork_never_runs_with_our_rights(self, name: str) -> None:
        assert "pull_request_target" not in read(name)
        assert "secrets." not in read(name)

    def test_every_job_ends_some_time(self, name: str) -> None:
        for job, options in self.jobs(name).items():
            assert options["timeout-minutes"] <= TAKES_LONG.get(job, 15)


class TestWorkflow:
    NAME = ".github/workflows/ci.yml"

    def jobs(self) -> dict[str, Any]:  # Any: see load
        jobs: dict[str, Any] = load(self.NAME)["jobs"]
        return jobs

    def steps(self, job: str) -> list[str]:
        return [step["run"] for step in self.jobs()[job]["steps"] if "run" in step]

    def test_lint_installs_the_dev_extra_and_runs_make_lint_black_and_isort(self) -> None:
        steps = self.steps("lint")

        assert 'pip install -e ".[dev]"' in steps
        assert "make lint" in steps
        assert any(step.startswith("black --check ") for step in steps)
        assert any(step.startswith("isort --check-only ") for step in steps)

    def test_tests_run_on_every_supported_python(self) -> None:
        versions = self.jobs()["test"]["strategy"]["matrix"]["python"]
        floor = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"]

        assert versions == ["3.11", "3.12", "3.13", "3.14"]
        assert floor == f">={versions[0]}"

    def test_tests_run_on_postgresql_16_and_redis_7(self) -> None:
        services = self.jobs()["test"]["services"]

        assert services["postgres"]["image"].startswith("postgres:16")
        assert services["redis"]["image"].startswith("redis:7")
        assert all("--health-cmd" in service["options"] for service in services.values())
        assert "make test" in self.steps("test")

    def test_tests_get_a_database_that_is_named_as_one_for_tests(self) -> None:
        job = self.jobs()["test"]
        database = job["env"]["DATABASE_URL"].rpartition("/")[2]

        assert database.endswith("_test")
        assert job["services"]["postgres"]["env"]["POSTGRES_DB"] == database
        assert job["env"]["REDIS_URL"].startswith("redis://localhost:")

    def test_tests_also_run_without_services_and_beside_a_hostile_env_file(self) -> None:
        job = self.jobs()["hermetic"]
        bare, hostile = self.steps("hermetic")

        assert not {"services", "env"} & set(job)
        assert bare == "make test"
        assert ".env" in hostile
        assert hostile.rstrip().endswith("make test")

    def test_the_walk_of_the_readme_is_performed(self) -> None:
        assert self.steps("walk") == ["bash quality/repository/smoke_test.sh"]

    def test_the_quickstart_with_docker_is_performed(self) -> None:
        steps = "\n".join(self.steps("compose"))

        assert "cp .env.example .env\nmake up\n" in steps
        assert "http://localhost:8000/health" in steps

    def test_what_is_no_python_is_judged_with_the_whole_history(self) -> None:
        checkout = self.jobs()["repository"]["steps"][0]

        assert checkout["with"]["fetch-depth"] == 0
        assert self.steps("repository") == ["make lint-repo"]

    def test_what_takes_long_is_done_in_part_on_each_push_as_the_gate_does_it(self) -> None:
        gate = re.findall(r"^bare .*(make (?!test).*)$", read(".ci/run"), re.MULTILINE)
        steps = {step for step in self.steps("proofs") if step.startswith("make ")}

        assert len(gate) >= 5
        assert steps == {*gate, "make docs-check", "make browser"}


class TestWeekly:
    NAME = ".github/workflows/weekly.yml"

    def steps(self, job: str) -> list[str]:
        return [step["run"] for step in load(self.NAME)["jobs"][job]["steps"] if "run" in step]

    def test_what_is_done_in_part_on_each_push_is_done_in_full(self) -> None:
        targets: list[str] = load(self.NAME)["jobs"]["full"]["strategy"]["matrix"]["target"]
        parts = re.findall(r"run: make (\S+) args=\"?--quick", read(TestWorkflow.NAME))

        assert set(targets) == {*parts, "leaks", "mutants"}
        assert self.steps("full")[-1] == 'make "$TARGET"'
        assert all(f"\n{target}:" in read("Makefile") for target in targets)

    def test_the_tests_run_on_the_newest_and_on_the_oldest_versions(self) -> None:
        oldest = load(self.NAME)["jobs"]["lowest"]["steps"][1]["with"]["python-version"]

        assert self.steps("newest") == [
            "make lock",
            "git diff --stat -- requirements",
            "make lint",
            "make test-all",
        ]
        assert self.steps("lowest") == ["make test-lowest"]
        assert oldest == "3.11"


class TestAudit:
    NAME = ".github/workflows/audit.yml"

    def test_it_runs_every_day_and_when_a_lock_changes(self) -> None:
        names = {str(name): options for name, options in load(self.NAME).items()}
        triggers = names["True"]  # "on", as YAML 1.1 reads it
        minute, hour, *days = triggers["schedule"][0]["cron"].split()

        assert minute.isdigit()
        assert hour.isdigit()
        assert days == ["*", "*", "*"]
        assert triggers["push"]["paths"] == triggers["pull_request"]["paths"] == ["requirements/**"]

    def test_it_judges_every_lock_and_no_response_is_a_failure(self) -> None:
        (recipe,) = re.findall(r"^audit:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
        locks = {path.stem for path in (PROJECT_ROOT / "requirements").glob("*.txt")}

        assert load(self.NAME)["jobs"]["holes"]["steps"][-1]["run"] == "make audit"
        assert "for lock in base dev audit;" in recipe
        assert locks == {"base", "dev", "audit"}
        assert {"--strict", "--require-hashes", "--disable-pip"} <= set(recipe.split())

    def test_a_release_carries_its_bill_of_materials(self) -> None:
        commands = [step.get("run", "") for step in load(self.NAME)["jobs"]["sbom"]["steps"]]

        assert "make sbom" in commands
        assert commands[-1].startswith('gh release upload "$TAG" sbom.cdx.json')


class TestDependabot:
    def updates(self) -> list[dict[str, Any]]:  # Any: see load
        updates: list[dict[str, Any]] = load(".github/dependabot.yml")["updates"]
        return updates

    def test_everything_that_is_pinned_is_moved(self) -> None:
        kinds = {update["package-ecosystem"] for update in self.updates()}

        assert kinds == {"pip", "github-actions", "docker", "docker-compose"}

    def test_a_release_waits_for_a_week(self) -> None:
        assert {update["cooldown"]["default-days"] for update in self.updates()} == {7}


class TestPreCommit:
    def test_every_hook_is_local_and_runs_from_the_active_environment(self) -> None:
        repos = load(".pre-commit-config.yaml")["repos"]
        hooks = [hook for repo in repos for hook in repo["hooks"]]

        assert {repo["repo"] for repo in repos} == {"local"}
        assert {hook["language"] for hook in hooks} == {"system"}
        assert all(hook["entry"].startswith(("python -m ", "lint-imports ")) for hook in hooks)

    def test_the_hooks_are_the_checks_of_make_lint_and_the_search_for_secrets(self) -> None:
        (repo,) = load(".pre-commit-config.yaml")["repos"]

        assert {hook["id"] for hook in repo["hooks"]} == {
            "black",
            "isort",
            "ruff",
            "mypy",
            "lint-imports",
            "secrets",
        }


class TestGate:
    @pytest.mark.slow
    @pytest.mark.skipif(os.name == "nt", reason="the gate runs on Linux")
    def test_that_fails_leaves_no_job_behind(self, tmp_path: Path) -> None:
        """Not even what the job itself has started."""
        log = tmp_path / "log"
        gate = (
            "set -euo pipefail; . .ci/jobs.sh; "
            f"in_background {log} sh -c 'sleep 60 & echo $!; wait'; "
            f"until [ -s {log} ]; do :; done; false"
        )

        done = subprocess.run(["/bin/bash", "-c", gate], cwd=PROJECT_ROOT, check=False)
        state = subprocess.run(
            ["/bin/ps", "-o", "stat=", "-p", log.read_text().strip()],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert state.stdout.strip()[:1] in {"", "Z"}
