"""Write the reference pages, or say which are out of date.

python -m docs.make          writes docs/reference
python -m docs.make --check  only compares
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.make.build import pages

FOLDER = Path(__file__).parent.parent / "reference"


def main() -> int:
    """Do what the command line says; return the exit status."""
    made = pages()
    stale = [n for n, text in made.items() if not _holds(FOLDER / n, text)]
    extra = [path.name for path in FOLDER.glob("*.md") if path.name not in made]
    if "--check" in sys.argv[1:]:
        for name in (*stale, *extra):
            print(f"docs/reference/{name} is out of date: python -m docs.make")
        return bool(stale or extra)
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(made[name], encoding="utf-8")
    for name in extra:
        (FOLDER / name).unlink()
    print(f"{len(made)} pages, {len(stale) + len(extra)} changed")
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
