"""Write requirements/*.txt: every package with version and hashes, for each supported Python and system."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path("requirements")
SOURCES: dict[str, list[str]] = {
    "base.txt": ["pyproject.toml"],
    "dev.txt": ["pyproject.toml", "--extra", "dev"],
    "audit.txt": ["--group", "pyproject.toml:audit"],
}


def main() -> None:
    for name, source in SOURCES.items():
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", *source),
                *("--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"),
                *("--no-header", "--quiet"),
                *("--output-file", str(REQUIREMENTS / name)),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
