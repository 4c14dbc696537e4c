"""The command `chainrule show`: open the report of a run.

Takes: a run folder. Gives: its report in the browser, and its path on the screen.
"""

from __future__ import annotations

import argparse
import webbrowser

from chainrule.cli.folder import find
from chainrule.cli.screen import say
from chainrule.core.errors import DataError


def run(given: argparse.Namespace) -> int:
    """Print where the report of a run is, and open it where there is a browser with windows."""
    folder = find(given.run)
    if not folder.report.exists():
        raise DataError(
            f"{folder.path}: has no report yet; it is written when the training ends",
            hint=folder.resume_command,
        )
    report = folder.report.resolve()
    say(str(report))
    open_page(report.as_uri())
    return 0


def open_page(address: str) -> None:
    """Open an address where there is a browser with windows."""
    try:
        browser = webbrowser.get()
        # One that runs in the terminal would take it over, and wait for keys without one.
        in_terminal = isinstance(browser, webbrowser.GenericBrowser)
        if not in_terminal or isinstance(browser, webbrowser.BackgroundBrowser):
            browser.open(address)
    except (webbrowser.Error, OSError):
        return  # the path has been printed
