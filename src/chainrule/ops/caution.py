"""Caution: a warning for what runs without an error but is most likely not meant.

Takes: what was noticed, and the remedy. Gives: a warning at the user's own line, once for a line.
"""

from __future__ import annotations

import warnings
from typing import Any

from chainrule.core.site import user_site

# What Python keeps in `__warningregistry__`: which lines have been warned about already.
_registry: dict[Any, Any] = {}


class LikelyMistakeWarning(UserWarning):
    """The call is allowed, but looks like a common mistake."""


def caution(message: str, *, hint: str) -> None:
    """Warn at the nearest line outside chainrule."""
    site = user_site(2)
    name, line = "chainrule", 1
    if site is not None:
        code, offset = site
        name = code.co_filename
        found = (at for start, end, at in code.co_lines() if start <= offset < end)
        line = next(found, None) or 1
    text = f"{message}\n  hint: {hint}"
    warnings.warn_explicit(text, LikelyMistakeWarning, name, line, registry=_registry)
