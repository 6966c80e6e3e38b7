"""Removes this folder and everything that only serves it: ``make eject-quality``. Standard library only.

What serves it elsewhere stands between a line with ``>>> quality`` and one with ``<<< quality``, as comments. Review the
difference and commit it: nothing of the product is touched.
"""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHOLE = ("quality", ".github/workflows/quality.yml", "requirements/quality.txt")
MARKED = re.compile(r"^[^\n]*>>> quality\b.*?<<< quality\b[^\n]*\n(\n?)", re.DOTALL | re.MULTILINE)


def main() -> None:
    for name in WHOLE:
        path = ROOT / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        print(f"removed {name}")
    marked = ["git", "-C", str(ROOT), "grep", "--name-only", ">>> quality"]
    found = subprocess.run(marked, check=False, capture_output=True, text=True).stdout
    for name in found.splitlines():
        text = MARKED.sub(blank_between, (ROOT / name).read_text(encoding="utf-8"))
        (ROOT / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
        print(f"changed {name}")


def blank_between(region: re.Match[str]) -> str:
    """The blank line behind a region, unless one stands in front of it."""
    return "" if region.string[: region.start()].endswith("\n\n") else region[1]


if __name__ == "__main__":
    main()
