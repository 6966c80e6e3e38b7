"""D-02 without a proxy: deploy.sh with a ``docker`` that only notes what it is told, and fails where a test says so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from quality.testkit.server import ROOT

OLD = "server app_blue:8000;\n"
SLOTS = "BLUE_TAG=1\nWORKER_TAG=1\nMIGRATE_TAG=1\n"
# FAIL is a part of the command that fails; INTERRUPT one in the middle of which the script gets a signal.
DOCKER = """#!/bin/sh
echo "$*" >>"$NOTES"
case "$*" in *"${INTERRUPT:-nothing}"*) kill -"$SIGNAL" $PPID ;; esac
case "$*" in *"${FAIL:-nothing}"*) exit 1 ;; *"ps --status"*) echo 1 ;; esac
"""
REFUSED = {
    "pull": "The image cannot be had",
    "run --rm migrate": "The migration failed",
    "force-recreate app_green": "app_green does not start",
    "nginx -t": "nginx refuses its configuration",
    "nginx -s reload": "nginx does not reload",
}


class Vm:
    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder / "vm", folder / "notes"
        shutil.copytree(ROOT / "deploy" / "vm", self.folder)
        (self.folder / ".env").write_text("IMAGE=backend\nHOST=api.example.com\n")
        (self.folder / "upstream.conf").write_text(OLD)
        (self.folder / "slots.env").write_text(SLOTS)
        script = self.folder / "deploy.sh"
        script.write_text(script.read_text().replace("DRAIN_SECONDS=6", "DRAIN_SECONDS=0"))
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        self.environment = {"PATH": f"{folder}:{os.environ['PATH']}", "NOTES": str(self.notes)}

    def deploy(self, tag: str, **given: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(self.folder / "deploy.sh"), tag]
        environment = self.environment | given
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def state(self) -> tuple[str, str]:
        return tuple((self.folder / name).read_text() for name in ("upstream.conf", "slots.env"))  # type: ignore[return-value]  # two

    def told(self) -> str:
        return self.notes.read_text()


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(tmp_path)


def test_release_changes_the_slot_and_then_stops_the_old_one(vm: Vm) -> None:
    done = vm.deploy("2")

    upstream, slots = vm.state()
    assert done.returncode == 0, done.stderr
    assert upstream == "server app_green:8000;\n"
    assert {*slots.split()} == {"BLUE_TAG=1", "GREEN_TAG=2", "WORKER_TAG=2", "MIGRATE_TAG=2"}
    order = ("app_green", "nginx -s reload", "stop app_blue", "force-recreate worker")
    assert sorted(order, key=vm.told().index) == [*order]


@pytest.mark.parametrize("fails", REFUSED)
def test_d_02_release_that_fails_before_the_switch_changes_nothing(vm: Vm, fails: str) -> None:
    done = vm.deploy("2", FAIL=fails)

    assert done.returncode == 1
    assert f"{REFUSED[fails]}: blue serves on." in done.stderr
    assert vm.state() == (OLD, SLOTS)
    assert "stop app_green" in vm.told()
    assert "stop app_blue" not in vm.told()


@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM"])
@pytest.mark.parametrize("at", ["pull", "force-recreate app_green", "nginx -t", "nginx -s reload"])
def test_d_02_release_that_is_interrupted_before_the_switch_changes_nothing(
    vm: Vm, signal: str, at: str
) -> None:
    done = vm.deploy("2", INTERRUPT=at, SIGNAL=signal)

    assert done.returncode == 1
    assert "Interrupted: blue serves on." in done.stderr
    assert vm.state() == (OLD, SLOTS)
    assert "stop app_blue" not in vm.told()
    if "nginx" in at:  # it may have read the new file: it is told to read the old one
        assert vm.told().rindex("nginx -s reload") < vm.told().index("stop app_green")


@pytest.mark.parametrize("fails", ["nginx caddy", "stop app_blue", "force-recreate worker"])
def test_failure_after_the_switch_does_not_say_that_nothing_has_changed(vm: Vm, fails: str) -> None:
    done = vm.deploy("2", FAIL=fails)

    assert done.returncode == 3
    assert "2 is released as app_green, but" in done.stderr
    assert vm.state()[0] == "server app_green:8000;\n"
    assert "GREEN_TAG=2" in vm.state()[1]


def test_interrupt_after_the_switch_says_so_too(vm: Vm) -> None:
    done = vm.deploy("2", INTERRUPT="stop app_blue", SIGNAL="INT")

    assert done.returncode == 3
    assert "2 is released as app_green, but" in done.stderr
