"""Problems of the settings in sentences: names of variables, never their values."""

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values
from pydantic import ValidationError

ALIKE = 0.85  # of two names: one letter in seven differs


def describe(error: ValidationError) -> list[str]:
    """One line for each problem: the variable's name and what is wrong, never the value."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        lines.append(f"{name}: {message}" if name else message)
    return lines


def misspelt_names(env_file: Path | None, names: Collection[str]) -> list[str]:
    """One line for each name in ``env_file`` that is none of ``names`` and resembles one: it has no effect."""
    if env_file is None:
        return []
    unknown = {name.upper() for name in dotenv_values(env_file, encoding="utf-8-sig")} - {*names}
    pairs = [(name, get_close_matches(name, names, n=1, cutoff=ALIKE)) for name in sorted(unknown)]
    return [f".env sets {name}: is {meant[0]} meant?" for name, meant in pairs if meant]
