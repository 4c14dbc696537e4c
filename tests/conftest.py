"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real data sets, or skip."""
    value = os.environ.get("CHAINRULE_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("real data sets are needed: set CHAINRULE_DATA to their folder")
    return Path(value)
