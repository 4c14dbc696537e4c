"""Versions: of chainrule and what it stands on, for run folders and bug reports."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

LIBRARIES = ("numpy", "llvmlite", "pyarrow", "pillow", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of chainrule, Python and the libraries that are installed."""
    # From the package that runs, which in a checkout need not be an installed one.
    found = {
        "chainrule": str(getattr(sys.modules["chainrule"], "__version__", "unknown")),
        "python": platform.python_version(),
    }
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
