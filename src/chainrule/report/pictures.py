"""Pictures: arrays of pixels as PNG inside the page.

Takes: uint8 [H, W] or [H, W, 3]. Gives: a ``data:`` URI.
The one idea: the page carries its pictures, so it can be sent as one file.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import missing_extra

# A thumbnail is shown at up to 128 pixels; twice that stays sharp on dense screens.
MAX_SIDE = 256


def png_uri(image: NDArray[np.uint8]) -> str:
    """Return ``image`` as a data URI; larger ones are shrunk to `MAX_SIDE` pixels.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("pillow", "showing images in a report") from None
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
