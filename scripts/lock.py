"""Write requirements/*.txt: every package with version and hashes, for each supported Python and system."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path("requirements")
EXTRAS: dict[str, list[str]] = {"base.txt": [], "dev.txt": ["--extra", "dev"]}


def main() -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
    for name, extra in EXTRAS.items():
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *extra),
                *("--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"),
                *("--no-header", "--quiet"),
                *("--output-file", str(REQUIREMENTS / name)),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
