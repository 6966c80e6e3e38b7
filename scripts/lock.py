"""Write requirements/*.txt: every package with version and hashes, for each supported Python and system.

``base.txt`` is what the application needs and ``dev.txt`` the extra of that name; ``audit.txt`` is the group of that name
alone. Every other group is locked on top of dev, in the versions of dev.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

REQUIREMENTS = Path("requirements")
DEV = ("pyproject.toml", "--extra", "dev")
ALONE = "audit"


def main() -> None:
    groups = tomllib.loads(Path("pyproject.toml").read_text("utf-8")).get("dependency-groups", {})
    compile_lock("base", "pyproject.toml")
    compile_lock("dev", *DEV)
    for name in groups:
        constraint = ("--constraint", str(REQUIREMENTS / "dev.txt"))
        compile_lock(
            name,
            *(() if name == ALONE else (*DEV, *constraint)),
            "--group",
            f"pyproject.toml:{name}",
        )


def compile_lock(name: str, *source: str) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", *source),
            *("--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"),
            *("--no-header", "--quiet", "--output-file", str(REQUIREMENTS / f"{name}.txt")),
        ],
        check=True,
    )


if __name__ == "__main__":
    main()
