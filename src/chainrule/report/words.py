"""Words: users' text and numbers made fit for a page.

Takes: any string (class name, file name, column) or number. Gives: text safe in XML and HTML,
cut to a width, and numbers with a sensible count of digits.
The one idea: what arrives from outside is cleaned once, here, before anything draws it.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata

EMPTY = "(empty)"

# Characters that XML 1.0 does not allow (section 2.2), C1 controls, and lone surrogates,
# which UTF-8 cannot write at all.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Characters that reorder the text round them: a name could otherwise turn its neighbours round.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Return ``text`` without reordering characters, those that XML forbids made U+FFFD."""
    return _ILLEGAL.sub("\ufffd", _REORDERING.sub("", text))


def escape(text: str) -> str:
    """Return ``text`` as it may stand in an SVG element or a quoted attribute."""
    return html.escape(clean(text), quote=True)


def one_line(text: str) -> str:
    """Return ``text`` cleaned, on one line; ``(empty)`` if nothing is left.

    Example:
        >>> one_line(" two\\nlines "), one_line("")
        ('two lines', '(empty)')
    """
    return " ".join(clean(text).split()) or EMPTY


def shorten(text: str, limit: int = 80) -> str:
    """Return ``text`` on one line, its middle left out where it has more than ``limit`` characters.

    Beginning and end stay: long names often differ in their last characters alone.

    Example:
        >>> shorten("chest_xray/train/patient_000017_view_2.png", 24)
        'chest_xray/trai…ew_2.png'
    """
    text = one_line(text)
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def text_width(text: str, size: float) -> float:
    """Return the approximate width of ``text`` in pixels at a font size of ``size`` pixels.

    Widths are of a typical sans-serif font, on the generous side: a label that is a little
    short looks right, one that runs out of its box does not.
    """
    return sum(_character_width(c) for c in text) * size


def fit(text: str, width: float, size: float) -> str:
    """Return ``text`` on one line, cut with an ellipsis where it is wider than ``width`` pixels.

    Example:
        >>> fit("an extraordinarily long name", 80, 12)
        'an extraor…'
    """
    text = one_line(text)
    if text_width(text, size) <= width:
        return text
    room = width - _character_width("…") * size
    kept = ""
    for character in text:
        room -= _character_width(character) * size
        if room < 0:
            break
        kept += character
    # A lone joiner or an accent without its letter would change the ellipsis.
    while kept and (unicodedata.combining(kept[-1]) or kept[-1] in "\u200d\ufe0f"):
        kept = kept[:-1]
    return kept.rstrip() + "…"


def format_number(value: float | int | None) -> str:
    """Return a number with four significant digits, integers whole, thousands separated.

    Example:
        >>> [format_number(v) for v in (0.98123, 12345, 3.2e-7, 1234.5, float("nan"), None)]
        ['0.9812', '12,345', '3.2e-7', '1,234', 'NaN', '–']
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else _tidy_exponent(f"{float(value):.3e}")
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size != 0 and (size < 1e-4 or size >= 1e6):
        return _tidy_exponent(f"{value:.3e}")
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def format_percent(share: float | None) -> str:
    """Return a share (0 to 1) in percent; never 100 for less than all, nor 0 for more than none.

    Example:
        >>> [format_percent(s) for s in (0.5, 0.9999, 1.0, 0.001, None)]
        ['50%', '>99%', '100%', '<1%', '–']
    """
    if share is None or not math.isfinite(share):
        return "–"
    if 0.995 <= share < 1:
        return ">99%"
    if 0 < share < 0.005:
        return "<1%"
    return f"{share * 100:.0f}%"


def format_seconds(seconds: float) -> str:
    """Return a duration in the two largest units that say something.

    Example:
        >>> [format_seconds(s) for s in (0.0042, 9.26, 75.0, 7384)]
        ['4.2 ms', '9.3 s', '1 min 15 s', '2 h 3 min']
    """
    if not math.isfinite(seconds) or seconds < 0:
        return format_number(seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = whole // 60
    return f"{minutes // 60:,} h {minutes % 60} min"


def _tidy_exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def _character_width(character: str) -> float:
    if character in "iljtfI.,:;'|!()[] /":
        return 0.34
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0f":
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0x1F000:
        return 1.05
    if character in "mwMW@%…—":
        return 0.92
    if character.isupper():
        return 0.7
    # Digits of some fonts (DejaVu, Verdana) are a good deal wider than letters.
    return 0.65 if character.isdigit() else 0.58
