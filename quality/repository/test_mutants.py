"""``make mutants``: what it changes, and that no module which it should change is left out."""

from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from quality.mutation.changes import mutants_of
from quality.mutation.targets import APP, modules

SOURCE = '''"""A module."""

from http import HTTPStatus

LIMIT: int = 30


class Refused(Exception):
    status = 403


@some.decorator("as it is")
def decide(age: "int") -> bool:
    return age > LIMIT and len("x") == 1
'''


@pytest.fixture
def changed(tmp_path: Path) -> list[str]:
    """Every way in which ``SOURCE`` is changed, without what stays."""
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    lines = SOURCE.splitlines()
    found = []
    for mutant in mutants_of(path):
        (line,) = set(mutant.source().decode().splitlines()) - set(lines)
        found.append(line.strip())
    return found


class TestChanges:
    @pytest.mark.parametrize(
        "line",
        [
            "LIMIT: int = 31",
            "LIMIT: int = None",
            "status = 404",
            "status = None",
            'return age >= LIMIT and len("x") == 1',
            'return age > LIMIT or len("x") == 1',
            'return age > LIMIT and len("x") != 1',
        ],
    )
    def test_reach_constants_class_bodies_and_decorated_functions(
        self, changed: list[str], line: str
    ) -> None:
        assert line in changed

    def test_leave_types_imports_decorators_and_docstrings_alone(self, changed: list[str]) -> None:
        assert not any("import" in line or "@" in line or '"""' in line for line in changed)
        assert not any("def decide" in line for line in changed)

    def test_are_each_different_from_the_source_and_from_each_other(
        self, changed: list[str]
    ) -> None:
        assert len(changed) == len(set(changed)) > 5


class TestTargets:
    @pytest.fixture(autouse=True)
    def at_the_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(PROJECT_ROOT)

    def test_have_tests_that_exist(self) -> None:
        for path, tests in modules([]).items():
            assert path.is_file()
            assert [test for test in tests if not Path(test).is_file()] == []

    def test_can_be_chosen_by_module_and_by_folder(self) -> None:
        assert [*modules(["auth/jwt.py"])] == [APP / "auth" / "jwt.py"]
        assert {path.parent for path in modules(["auth"])} == {APP / "auth"}

    def test_that_do_not_exist_are_refused(self) -> None:
        with pytest.raises(LookupError, match="no such module here: nowhere"):
            modules(["nowhere"])

    def test_without_a_row_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / APP / "auth").mkdir(parents=True)
        (tmp_path / APP / "auth" / "new.py").write_text("LIMIT = 1")
        monkeypatch.chdir(tmp_path)

        with pytest.raises(LookupError, match=r"no tests answer for auth/new\.py"):
            modules([])
