"""Pictures: one image file in, one uint8 array out, through Pillow (extra ``full``).

Takes: an image file. Gives: its size and colour without decoding, or its pixels [C, H, W].
The one idea: only harmless formats are opened, the size is checked before anything is
unpacked, and whatever a damaged file makes the decoder raise comes out as one kind of error.
"""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule.core.errors import DataError, missing_extra
from chainrule.data.examples import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "PictureInfo",
    "inspect_picture",
    "load_picture",
    "quiet_pillow",
    "require_pillow",
]

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
)
# Not the formats whose decoders start programs (EPS) or follow links.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
# Pillow's own limit (a quarter of a gibibyte at 3 bytes a pixel); larger is a bomb or a map.
MAX_PIXELS = 89_478_485
# Deflate packs at most 1032 bytes into one, of eight 1-bit pixels each. A header that promises
# more is damaged. (WebP has no such bound: a flat picture takes a few bytes of any size.)
MAX_PIXELS_PER_BYTE = 8 * 1032 * 2
# EXIF tag 274: how the camera was held; from 5 on, width and height are exchanged.
_ORIENTATION = 0x0112
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class PictureInfo:
    """What the header of an image file says.

    Args:
        size: Width and height in pixels, as shown (camera orientation applied).
        grey: Whether it has a single channel of colour.
        transparent: Whether it has an alpha channel or a transparent colour.
        frames: Number of frames of an animation, else 1.
    """

    size: tuple[int, int]
    grey: bool
    transparent: bool
    frames: int


def require_pillow() -> None:
    """Raise the error that names the extra, unless Pillow is installed."""
    try:
        import PIL.Image  # noqa: F401  (only whether it can be imported)
    except ImportError:
        raise missing_extra("pillow", "reading images") from None


def inspect_picture(path: Path) -> PictureInfo:
    """Read the header of an image file.

    Raises:
        DataError: The file cannot be read, is no image, or is too large.
    """
    with _opened(path) as image:
        width, height = image.size
        if int(image.getexif().get(_ORIENTATION, 1)) >= 5:
            width, height = height, width
        grey = image.mode in _GREY_MODES
        if image.mode == "P" and (palette := image.getpalette("RGB")):
            used = np.array(palette, np.uint8).reshape(-1, 3)
            grey = bool((used == used[:, :1]).all())
        transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
        transparent = transparent or "transparency" in image.info
        return PictureInfo((width, height), grey, transparent, getattr(image, "n_frames", 1))


def load_picture(path: Path, *, size: tuple[int, int] | None, grey: bool) -> Array:
    """Decode an image file.

    Transparent parts are laid on white; 16-bit grey is brought to 8 bits; a picture of
    another shape than ``size`` is scaled to cover it and cut equally on both sides.

    Args:
        path: The file; of an animation the first frame is taken.
        size: Width and height of the result; None: its own.
        grey: One channel instead of three.

    Returns:
        Pixels uint8 [C, H, W], C = 1 or 3.

    Raises:
        DataError: The file cannot be read, is no image, truncated or too large.
    """
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        opened.load()
        image = ImageOps.exif_transpose(opened) or opened
        image = _eight_bits(image)
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        image = image.convert("L" if grey else "RGB")
        if size is not None and image.size != size:
            image = ImageOps.fit(image, size, method=Image.Resampling.BICUBIC)
        pixels = np.array(image, np.uint8)
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _eight_bits(image: Image) -> Image:
    """Bring deeper grey to 8 bits: Pillow itself would clip at 255."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=65535.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode == "F" and top <= 1.0:
        values = values * 255.0
    elif top > 255.0:
        values = values / (257.0 if top <= 65535.0 else top / 255.0)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open an image file; every failure inside the block is a `DataError`."""
    from PIL import Image, UnidentifiedImageError

    # What Pillow's decoders raise on damage, found by mutating files.
    damaged = (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
        OverflowError,
        MemoryError,
        RuntimeError,
        ZeroDivisionError,
        struct.error,
        Image.DecompressionBombError,
        Warning,
    )
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or width < 1 or height < 1:
                raise DataError(
                    f"{path}: {width:,} x {height:,} pixels, expected at most {MAX_PIXELS:,}",
                    hint="scale it down first, or remove it",
                )
            stored = path.stat().st_size
            if image.format != "WEBP" and width * height > MAX_PIXELS_PER_BYTE * stored:
                raise DataError(
                    f"{path}: damaged image: {width:,} x {height:,} pixels cannot be in "
                    f"{stored:,} bytes",
                    hint="remove it, or copy it again",
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file or folder") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: not an image, or damaged at its beginning",
            hint="remove it, or copy it again",
        ) from error
    except damaged as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"{path}: damaged image: {reason}", hint="remove it, or copy it again"
        ) from error


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings: sizes are checked here, and damage ends in an error.

    To be entered once round a batch of pictures, and never inside worker threads: the filters
    of warnings belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
