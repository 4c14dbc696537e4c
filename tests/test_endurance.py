"""Many compiled steps: memory, and bits of the losses (recipes/endurance.py, a short version)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENDURANCE = Path(__file__).parent.parent / "recipes" / "endurance.py"


def test_steps_have_the_same_bits_with_any_threads_and_cache_and_memory_is_flat() -> None:
    command = [sys.executable, str(ENDURANCE), "--steps", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "losses: the same bits in all runs",
        "memory: flat",
    ]
