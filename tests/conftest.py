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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many checks were generated from the op registry."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "generated_checks":
                terminalreporter.write_line(f"{value:,} checks generated from the op registry")
