"""Write requirements/*.txt: every package with version and hashes, for each supported Python and system.

``base.txt`` is what the application needs, ``dev.txt`` the extra of that name, and ``observability.txt`` the one that an image
may be built with; ``audit.txt`` is the group of that name alone. Every other group is locked on top of dev, in its versions.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

REQUIREMENTS = Path("requirements")
DEV = ("pyproject.toml", "--extra", "dev")
IMAGE = ("pyproject.toml", "--extra", "observability")
ALONE = "audit"


def main() -> None:
    groups = tomllib.loads(Path("pyproject.toml").read_text("utf-8")).get("dependency-groups", {})
    compile_lock("base", "pyproject.toml")
    compile_lock("dev", *DEV)
    constraint = ("--constraint", str(REQUIREMENTS / "dev.txt"))
    compile_lock("observability", *IMAGE, *constraint)
    for name in groups:
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
