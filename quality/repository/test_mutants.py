"""``make mutants``: what it changes, and which tests it runs."""

from collections import Counter
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from quality.mutation.operators import mutants_of
from quality.mutation.runner import files_of
from quality.mutation.selection import APP, Selection, modules

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


class TestSelection:
    @pytest.fixture(autouse=True)
    def at_the_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(PROJECT_ROOT)

    def test_default_modules_exist(self) -> None:
        assert {APP / "auth" / "jwt.py", APP / "core" / "errors.py"} < {*modules([])}

    def test_modules_can_be_chosen_by_file_and_by_folder(self) -> None:
        assert modules(["auth/jwt.py"]) == [APP / "auth" / "jwt.py"]
        assert {path.parent for path in modules(["db"])} == {APP / "db"}

    def test_unknown_module_is_refused(self) -> None:
        with pytest.raises(LookupError, match="no such module here: nowhere"):
            modules(["nowhere"])

    def test_tests_of_a_line_are_those_that_execute_it(self) -> None:
        path = Path("module.py")
        selection = Selection({path: {1: set(), 5: {"a"}, 6: {"a", "b"}}}, {"a": 1, "b": 1, "c": 1})

        assert selection.tests_of(path, 5) == {"a"}
        assert selection.tests_of(path, 7) == {"a", "b"}, "of the statement that the line continues"
        assert selection.tests_of(path, 1) == {
            "a",
            "b",
        }, "of the module, because imports have no test"
        assert selection.tests_of(Path("constants.py"), 1) == {"a", "b", "c"}

    def test_files_that_noticed_most_come_first_and_then_the_cheap_ones(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "module.py"
        path.write_text("LIMIT = 1\n")
        tests = {"slow.py::a": 9.0, "cheap.py::a": 0.1, "known.py::b": 2.0, "known.py::a": 1.0}
        selection = Selection({path: {1: {*tests}}}, tests)

        files = files_of(mutants_of(path)[0], selection, Counter({"known.py": 1}))

        assert [file.path for file in files] == ["known.py", "cheap.py", "slow.py"]
        assert files[0].tests == ["known.py::a", "known.py::b"]
