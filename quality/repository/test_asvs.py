"""quality/docs/ASVS.md does not lie: every requirement once, every file of tests that it names is there, nothing held by words."""

import re
from collections import Counter
from typing import NamedTuple

from app.core.config import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "quality" / "docs" / "ASVS.md"
TESTS = (PROJECT_ROOT / "backend" / "tests", PROJECT_ROOT / "quality")
ATTACKS = PROJECT_ROOT / "quality" / "adversarial"
STATUSES = ["held", "documented", "partly", "later", "yours", "n/a"]

# ASVS 5.0.0: each section, and the level of its first requirement, its second, and so on.
STANDARD = """
1.1 22  1.2 1111122223  1.3 112222222223  1.4 222  1.5 123
2.1 122  2.2 112  2.3 12223  2.4 23
3.1 3  3.2 113  3.3 12223  3.4 11222233  3.5 11122333  3.6 3  3.7 22333
4.1 12233  4.2 23333  4.3 22  4.4 1222
5.1 2  5.2 112333  5.3 113  5.4 222
6.1 122  6.2 111111112222  6.3 11223333  6.4 112233  6.5 22222333  6.6 2223  6.7 33  6.8 2222
7.1 222  7.2 1111  7.3 22  7.4 11222  7.5 223  7.6 22
8.1 1233  8.2 1123  8.3 133  8.4 23
9.1 111  9.2 1222
10.1 22  10.2 223  10.3 22223  10.4 1111122222233333  10.5 22222  10.6 22  10.7 222
11.1 2233  11.2 22233  11.3 11233  11.4 1222  11.5 23  11.6 23  11.7 33
12.1 12233  12.2 11  12.3 22223
13.1 2333  13.2 222223  13.3 2233  13.4 1222233
14.1 22  14.2 12223333  14.3 122
15.1 12233  15.2 12233  15.3 1222222  15.4 3333
16.1 2  16.2 22222  16.3 2222  16.4 222  16.5 2223
17.1 23  17.2 22223333  17.3 22
"""
OUT_OF_SCOPE = 3
# What a life cycle of accounts is built for: each is held by a test with a name, not by a file.
BY_NAME = """
6.2.2 6.2.3 6.2.4 6.4.3 6.6.2 6.6.3 7.2.3 7.2.4 7.3.1 7.3.2 7.4.1 7.4.2 7.4.3 7.4.5 7.5.1 7.5.2 10.4.5 10.4.8 10.4.9 11.5.1
"""


class Row(NamedTuple):
    ids: list[str]
    level: int
    status: str
    shown_by: str

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`([\w/]+/test_\w+\.py)(?:::\w+)?`", self.shown_by)

    @property
    def named(self) -> list[tuple[str, str]]:
        """Each file that is named with one of its tests, and that test."""
        return re.findall(r"`([\w/]+/test_\w+\.py)::(\w+)`", self.shown_by)

    @property
    def attacks(self) -> list[str]:
        return re.findall(r"`(A-\d+)`", self.shown_by)

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)]+)\)", self.shown_by)

    @property
    def words(self) -> str:
        """What is said besides the names of tests and attacks."""
        return re.sub(r"`[^`]*(\.py|A-\d)[^`]*`", "", self.shown_by).strip(" ,:;")


def read() -> list[Row]:
    lines = re.findall(r"^\| (\d[\d., ]+) \| (\d) \| .+? \| (\S+) \| (.*) \|$", TEXT, re.MULTILINE)
    return [Row(ids.split(", "), int(level), *rest) for ids, level, *rest in lines]


TEXT = DOCUMENT.read_text(encoding="utf-8")
ROWS = read()


def standard() -> dict[str, int]:
    words = STANDARD.split()
    return {
        f"{section}.{number}": int(level)
        for section, levels in zip(words[::2], words[1::2], strict=True)
        for number, level in enumerate(levels, start=1)
    }


def exists(test: str) -> bool:
    return any((folder / test).is_file() for folder in TESTS)


def has(test: str, name: str) -> bool:
    sources = [(folder / test).read_text("utf-8") for folder in TESTS if (folder / test).is_file()]
    return any(f"def {name}(" in source for source in sources)


def registered_attacks() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in ATTACKS.glob("*.py")]
    return set(re.findall(r'@attack\(\s*"(A-\d+)"', "".join(sources)))


def leads_somewhere(link: str) -> bool:
    file, _, anchor = link.partition("#")
    path = DOCUMENT.parent / file
    if not path.is_file():
        return False
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return not anchor or anchor in anchors


def has_what_its_status_needs(row: Row) -> bool:
    match row.status:
        case "held":
            return bool(row.tests or row.attacks)
        case "documented":
            return bool(row.links)
        case _:
            return row.status in STATUSES and bool(row.words)


class TestRequirements:
    def test_of_level_1_and_2_are_there_once_and_no_other(self) -> None:
        found = Counter(id_ for row in ROWS for id_ in row.ids)
        in_scope = [id_ for id_, level in standard().items() if level < OUT_OF_SCOPE]

        assert sorted(found) == sorted(in_scope)
        assert [id_ for id_, times in found.items() if times > 1] == []

    def test_have_the_level_of_the_standard(self) -> None:
        told = {id_: row.level for row in ROWS for id_ in row.ids}

        assert {id_: level for id_, level in told.items() if level != standard()[id_]} == {}

    def test_are_counted_right(self) -> None:
        count = Counter((row.status, row.level) for row in ROWS for _ in row.ids)
        told = re.findall(r"^\| (\S+) \| .+ \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)

        counted = [(name, str(count[name, 1]), str(count[name, 2])) for name in STATUSES]
        assert told == [*counted, ("all", "70", "183")]

    def test_are_all_read_by_this_test(self) -> None:
        assert len(ROWS) == len(re.findall(r"^\| \d", TEXT, re.MULTILINE))


class TestEvidence:
    def test_is_what_the_status_needs(self) -> None:
        assert [row.ids for row in ROWS if not has_what_its_status_needs(row)] == []

    def test_names_tests_that_exist(self) -> None:
        assert [(row.ids, test) for row in ROWS for test in row.tests if not exists(test)] == []

    def test_names_functions_that_exist(self) -> None:
        named = [(test, name) for row in ROWS for test, name in row.named]

        assert [(test, name) for test, name in named if not has(test, name)] == []

    def test_of_the_life_cycle_has_the_names_of_its_tests(self) -> None:
        by_name = {id_ for row in ROWS for id_ in row.ids if row.named}

        assert set(BY_NAME.split()) - by_name == set()

    def test_names_files_of_tests_that_exist(self) -> None:
        named = set(re.findall(r"`(test_\w+\.py)`", TEXT))

        assert (
            named - {path.name for folder in TESTS for path in folder.rglob("test_*.py")} == set()
        )

    def test_names_attacks_that_are_made(self) -> None:
        assert {attack for row in ROWS for attack in row.attacks} - registered_attacks() == set()

    def test_links_to_what_exists(self) -> None:
        links = {link for row in ROWS for link in row.links}

        assert [link for link in links if not leads_somewhere(link)] == []

    def test_is_spelled_so_that_it_is_found(self) -> None:
        for row in ROWS:
            spelled = re.findall(r"`[^`]*(?:/test_|\bA-\d)[^`]*`", row.shown_by)

            assert len(spelled) == len(row.tests) + len(row.attacks), row.ids
