"""Call sites: where in the user's program the running operation was called.

Takes: the Python stack. Gives: a cheap reference to the first frame outside chainrule.
The one idea: remember a code object and an offset (no text) and format them only in an error.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType

from chainrule.core.errors import PACKAGE_DIR, Site

# Whether a code object belongs to chainrule; keyed by file name, so it stays small.
_is_ours: dict[str, bool] = {}


def user_site(depth: int = 2) -> Site | None:
    """Return the nearest frame outside chainrule, starting ``depth`` frames up the stack."""
    frame = sys._getframe(depth)
    while frame is not None:
        code: CodeType = frame.f_code
        name = code.co_filename
        ours = _is_ours.get(name)
        if ours is None:
            ours = _is_ours[name] = _belongs_here(name)
        if not ours:
            return code, frame.f_lasti
        frame = frame.f_back  # type: ignore[assignment]
    return None


def user_frame(depth: int = 2) -> FrameType | None:
    """Return the frame that `user_site` refers to; only for use while an error is built."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _belongs_here(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _belongs_here(file: str) -> bool:
    # `python -m chainrule` is entered through the interpreter's own frozen modules.
    return file.startswith((PACKAGE_DIR, "<frozen "))
