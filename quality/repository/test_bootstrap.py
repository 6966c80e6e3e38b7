"""scripts/bootstrap.py in a checkout of its own, with a lock of one tiny package that needs no network."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from tests.fixtures.wheel import build_wheel

pytestmark = pytest.mark.slow

PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
PATIENCE_SECONDS = 120


class Checkout:
    def __init__(self, root: Path, wheels: Path) -> None:
        self.root = root
        self.wheels = wheels
        self.environment: dict[str, str] = {}

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def write_lock(self, comment: str = "") -> None:
        digest = hashlib.sha256(
            (self.wheels / "tiny-1.0-py3-none-any.whl").read_bytes()
        ).hexdigest()
        for name in ("base", "dev"):
            text = f"tiny==1.0 --hash=sha256:{digest}\n# {comment}\n"
            (self.root / "requirements" / f"{name}.txt").write_text(text)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PYTHONPATH": ""}
        return subprocess.Popen(
            [getattr(sys, "_base_executable", sys.executable), "scripts/bootstrap.py", "run"],
            cwd=self.root,
            env=kept | offline | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **variables: str) -> tuple[int, str, str]:
        """Exit code, output and complaints."""
        process = self.start(**variables)
        said, complained = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, said.strip(), complained

    def works(self, **variables: str) -> bool:
        code, python, complained = self.run(**variables)
        assert code == 0, complained
        return imports_tiny(Path(python))


def imports_tiny(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import tiny"], check=False).returncode == 0


def make_venv(path: Path, *options: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", *options, str(path)], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh clone, whose path has blanks in it."""
    root, wheels = tmp_path / "my check out", tmp_path / "wheels"
    wheels.mkdir()
    build_wheel(wheels)
    (root / "requirements").mkdir(parents=True)
    (root / "scripts").mkdir()
    shutil.copy(PROJECT_ROOT / "scripts" / "bootstrap.py", root / "scripts")
    checkout = Checkout(root, wheels)
    checkout.write_lock()
    return checkout


def test_three_at_once_on_a_fresh_clone_all_succeed(checkout: Checkout) -> None:
    started = [checkout.start() for _ in range(3)]
    done = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]

    assert [process.returncode for process in started] == [0, 0, 0], done
    assert {said.strip() for said, _ in done} == {(checkout.venv / PYTHON).as_posix()}
    assert sum("Making a virtual environment" in complained for _, complained in done) == 1


class TestOwnEnvironment:
    def test_that_has_no_pip_is_made_again(self, checkout: Checkout) -> None:
        """Its first start was killed, or another tool has made it."""
        make_venv(checkout.venv, "--without-pip")

        assert checkout.works()

    def test_of_a_renamed_checkout_is_made_again(self, checkout: Checkout) -> None:
        assert checkout.works()
        checkout.root = checkout.root.rename(checkout.root.with_name("renamed"))

        code, python, complained = checkout.run()

        assert code == 0
        assert "Making a virtual environment" in complained
        assert python == (checkout.venv / PYTHON).as_posix()

    def test_that_is_whole_is_left_alone(self, checkout: Checkout) -> None:
        assert checkout.works()

        assert checkout.run(PIP_FIND_LINKS="/no/such") == (
            0,
            (checkout.venv / PYTHON).as_posix(),
            "",
        )

    def test_with_another_lock_is_added_to(self, checkout: Checkout) -> None:
        assert checkout.works()
        checkout.write_lock("newer")

        code, _, complained = checkout.run()

        assert code == 0
        assert "Installing" in complained
        assert "Making" not in complained

    def test_survives_a_new_lock_while_there_is_no_network(self, checkout: Checkout) -> None:
        assert checkout.works()
        checkout.write_lock("newer")
        lock = checkout.root / "requirements" / "base.txt"
        lock.write_text(lock.read_text().replace("1.0", "2.0"))

        code, _, complained = checkout.run()
        checkout.write_lock()

        assert code == 1
        assert "Is the network there?" in complained
        assert checkout.run(PIP_FIND_LINKS="/no/such")[0] == 0


class TestActiveEnvironment:
    def test_without_pip_gets_it_and_keeps_what_it_has(
        self, checkout: Checkout, tmp_path: Path
    ) -> None:
        active = tmp_path / "another"
        make_venv(active, "--without-pip")
        (active / "theirs").touch()

        assert checkout.works(VIRTUAL_ENV=str(active))
        assert (active / "theirs").exists()
        assert not checkout.venv.exists()

    def test_that_has_everything_is_not_touched(self, checkout: Checkout, tmp_path: Path) -> None:
        active = tmp_path / "another"
        make_venv(active, "--without-pip")
        shutil.unpack_archive(
            checkout.wheels / "tiny-1.0-py3-none-any.whl",
            next(active.glob("[Ll]ib/**/site-packages")),
            "zip",
        )

        code, _, complained = checkout.run(VIRTUAL_ENV=str(active))

        assert (code, complained) == (0, "")
        assert not (active / "installed-base").exists()

    def test_that_is_gone_is_one_clear_sentence(self, checkout: Checkout, tmp_path: Path) -> None:
        code, _, complained = checkout.run(VIRTUAL_ENV=str(tmp_path / "gone"))

        assert code == 1
        assert complained == f"The active environment {tmp_path / 'gone'} is gone: deactivate it.\n"
        assert not (tmp_path / "gone").exists()


def test_owner_that_was_killed_holds_up_nobody(checkout: Checkout) -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; sys.path[:0] = ['scripts']; import bootstrap as b\n"
            "with b.alone(b.choose(b.LOCKS['run'])): print('mine', flush=True); time.sleep(60)",
        ],
        cwd=checkout.root,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    waiting = checkout.start()
    assert waiting.stderr is not None
    first = waiting.stderr.readline()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    waiting.communicate(timeout=PATIENCE_SECONDS)

    assert first.startswith("Another process prepares ")
    assert waiting.returncode == 0
