"""The recipe of ONBOARDING can be followed, and the check that follows it finds what cannot be."""

from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from quality.repository.docs_check import recipe
from quality.repository.docs_check.__main__ import Walk
from quality.repository.docs_check.documents import Block, read
from quality.repository.docs_check.shell import Shell

RECIPE = [block for block in read(PROJECT_ROOT / "backend/docs/ONBOARDING.md").blocks if block.file]


def block(how: str, beside: str = "", file: str = "list.txt") -> Block:
    return Block("text", "added\n", 1, file, how, beside)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in a folder with a list of three lines, all of it committed."""
    (tmp_path / "list.txt").write_text("one\ntwo\ntwo and a half\n")
    shell = Shell(tmp_path, {})
    someone = "-c user.name=x -c user.email=x@example.com"
    shell.run(f"git init --quiet && git add . && git {someone} commit --quiet --message x")
    return shell


def test_every_block_of_the_recipe_finds_its_place(tmp_path: Path) -> None:
    """Also where it was followed already: a new file is written into an empty folder."""
    for given in {block.file for block in RECIPE if block.file and block.how != "new"}:
        (tmp_path / given).parent.mkdir(parents=True)
        (tmp_path / given).write_bytes((PROJECT_ROOT / given).read_bytes())

    assert [recipe.apply(block, tmp_path) for block in RECIPE] == [None] * len(RECIPE)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("above", "added\none\ntwo\ntwo and a half\n"),
        ("below", "one\nadded\ntwo\ntwo and a half\n"),
        ("instead of", "added\ntwo\ntwo and a half\n"),
    ],
)
def test_a_block_goes_where_its_line_says(shell: Shell, how: str, expected: str) -> None:
    assert recipe.apply(block(how, "one"), shell.root) is None

    assert (shell.root / "list.txt").read_text() == expected


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (block("new"), "list.txt is there already"),
        (block("below", "one", "gone.txt"), "gone.txt does not exist"),
        (block("below", "three"), "0 lines of list.txt begin with three"),
        (block("below", "two"), "2 lines of list.txt begin with two"),
    ],
)
def test_a_block_without_a_place_is_found(shell: Shell, step: Block, problem: str) -> None:
    assert recipe.apply(step, shell.root) == problem


def test_cost_is_what_git_sees(shell: Shell) -> None:
    recipe.apply(block("new", file="folder/new.txt"), shell.root)
    recipe.apply(block("instead of", "one"), shell.root)

    assert recipe.cost(shell.root) == recipe.Cost(("folder/new.txt",), ("list.txt",), 1, 1)


def walked(shell: Shell, text: str) -> Walk:
    (shell.root / "backend" / "docs").mkdir(parents=True)
    (shell.root / "README.md").write_text(text)
    (shell.root / "backend" / "docs" / "ONBOARDING.md").write_text("")
    walk = Walk(shell)
    walk.all()
    return walk


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nfalse\ntrue\n```",
        "```bash\nmake run\n```",
        '```bash\ndocker run "x\n```',
        "`list.txt`, below `three`:\n\n```text\nfour\n```",
        "`list.txt`, above `one`:\n\n```text\n1\n2\n3\n4\n```",
    ],
)
def test_a_document_that_does_not_work_fails(shell: Shell, text: str) -> None:
    assert walked(shell, text).failed == 1


def test_a_document_that_works_does_not_fail(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "```bash\ntouch made    # why\n```\n```bash\ndocker run x\n```\n```bash\ntest ! -f made\ntouch made\n```"

    assert walked(shell, text).failed == 0
    assert "README.md:1  touch made: comes again below" in capsys.readouterr().out


def test_a_command_sees_nothing_of_the_environment(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://live")

    assert shell.run('echo "<${DATABASE_URL:-}>"') == "<>\n"
