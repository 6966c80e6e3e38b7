"""Removes this folder and everything that only serves it: ``make eject-quality``. Standard library only.

What serves it elsewhere stands between a line with ``>>> quality`` and one with ``<<< quality``, as comments. Review the
difference and commit it: nothing of the product is touched.
"""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHOLE = ("quality", ".github/workflows/quality.yml", "requirements/quality.txt")
IN_PART = (
    "Makefile",
    "pyproject.toml",
    ".pre-commit-config.yaml",
    ".ci/run",
    "*.md",
    "backend/**/*.md",
)
MARKED = re.compile(r"^[^\n]*>>> quality\b.*?<<< quality\b[^\n]*\n", re.DOTALL | re.MULTILINE)


def main() -> None:
    for name in WHOLE:
        path = ROOT / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        print(f"removed {name}")
    for path in sorted(path for pattern in IN_PART for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        left = MARKED.sub("", text)
        if left != text:
            path.write_text(left, encoding="utf-8", newline="\n")
            print(f"changed {path.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    main()
