"""README and docs say the truth: every Python block runs, every shown result is what comes out.

Blocks of one page run in order in one namespace. A comment behind a `print(...)` is what it prints.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SHOWN = re.compile(r"^\s*print\(.*\)\s+# (.*)$")
# Written by docs.make; their examples are run as those of the docstrings.
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run_and_print_what_they_show(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page.name} block {number}", "exec"), namespace)
        shown = [m.group(1).strip() for line in code.splitlines() if (m := SHOWN.match(line))]
        lines = [line.strip() for line in printed.getvalue().splitlines()]
        for want in shown:
            assert want in lines, f"{page.name} block {number}: {want!r} not in {lines}"


@pytest.mark.parametrize("page", [*PAGES, *REFERENCE], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_both_readmes_show_the_same_code() -> None:
    def blocks(page: Path) -> list[str]:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"```(?:sh|python)\n(.*?)```", text, re.DOTALL)
        return [re.sub(r"\s+#.*", "", block) for block in found]

    assert blocks(ROOT / "README.md") == blocks(ROOT / "README.ko.md")


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    """Neither llvmlite nor any extra comes with `import chainrule`; seconds are benchmarked."""
    code = "import sys, chainrule; print(' '.join(m for m in sys.modules if '.' not in m))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    heavy = {"llvmlite", "torch", "scipy", "sklearn", "pyarrow", "PIL", "jinja2", "pandas"}
    assert not heavy & set(result.stdout.split())
