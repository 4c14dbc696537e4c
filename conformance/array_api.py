"""Run data-apis/array-api-tests on `chainrule.array_api` and write the score.

Usage: python conformance/array_api.py SUITE [--module numpy] [--examples 20] [--out FILE]

SUITE is a checkout of https://github.com/data-apis/array-api-tests with its submodule. It is
copied, and three places that presuppose complex dtypes are changed in the copy: without them the
suite cannot be loaded for a library of real numbers. Tests in array_api_skips.txt are left out.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

# In the suite's files: what stands there, and what has to.
CHANGES = (
    (
        "dtype_helpers.py",
        "for dt in complex_dtypes], key=lambda x: x[1]\n)[0]",
        "for dt in complex_dtypes], key=lambda x: x[1], default=(None, 0)\n)[0]",
    ),
    (
        "test_signatures.py",
        "dh.dtype_to_name[dh.widest_complex_dtype]",
        'dh.dtype_to_name.get(dh.widest_complex_dtype, "complex128")',
    ),
    (
        "test_special_cases.py",
        "        if case.is_complex:\n",
        "        if case.is_complex and not dh.complex_dtypes:\n"
        '            pytest.skip("no complex dtypes")\n'
        "        if case.is_complex:\n",
    ),
)


def prepared(suite: Path, folder: Path) -> Path:
    """Return a copy of the suite that a library without complex dtypes can load."""
    copy = folder / "suite"
    shutil.copytree(suite, copy, ignore=shutil.ignore_patterns(".git", ".hypothesis"))
    for name, old, new in CHANGES:
        path = copy / "array_api_tests" / name
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise SystemExit(f"{path.name}: expected {old!r} once; the suite has changed")
        path.write_text(text.replace(old, new), encoding="utf-8")
    return copy


def run(suite: Path, module: str, examples: int) -> str:
    """Run the suite; return what pytest says."""
    settings = {
        "ARRAY_API_TESTS_MODULE": module,
        "ARRAY_API_TESTS_VERSION": "2025.12",
        "ARRAY_API_TESTS_SKIP_DTYPES": "complex64,complex128",
    }
    words = [
        *(sys.executable, "-m", "pytest", "array_api_tests", "-q", "-rf", "--tb=line"),
        *("--disable-extension", "fft", "--disable-deadline", "--derandomize"),
        *("--max-examples", str(examples), "-p", "no:cacheprovider", "-p", "no:randomly"),
        *("--skips-file", str(HERE / "array_api_skips.txt")),
    ]
    environment = {**os.environ, **settings}
    done = subprocess.run(words, cwd=suite, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def score(output: str) -> tuple[dict[str, int], list[str]]:
    """Return how many tests passed, failed and were skipped, and the names of the failed."""
    last = output.strip().rsplit("\n", 1)[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped)", last)}
    failed = re.findall(r"^FAILED (?:array_api_tests/)?(.*?)(?: - .*)?$", output, re.MULTILINE)
    return counts, sorted(failed)


def main() -> int:
    """Run the suite, print the score, return 1 if it could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--module", default="chainrule.array_api")
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = run(prepared(chosen.suite, Path(folder)), chosen.module, chosen.examples)
    counts, failed = score(output)
    if "passed" not in counts:
        print(output[-3000:])
        return 1
    total = counts["passed"] + counts.get("failed", 0)
    lines = [
        f"{chosen.module}: {counts['passed']} of {total} pass, {counts.get('skipped', 0)} skipped"
    ]
    lines += [f"  fails: {name}" for name in failed]
    print("\n".join(lines))
    if chosen.out:
        chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
