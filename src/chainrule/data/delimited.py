"""Delimited text: CSV, TSV and their relatives, as cells with the line each row came from.

Takes: a text file, plain or gzip. Gives: `Cells`: named columns of text, line numbers, notes.
The one idea: a row that does not fit is an error with its line number, never a guess; what is
guessed (delimiter, header) is guessed from the whole pattern and said in the notes.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes
from chainrule.data.gzipped import unpack

__all__ = ["MISSING", "Cells", "as_number", "parse_rows", "read_delimited"]

# What people write where a value is missing (compared without case and outer white space).
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat"})
DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "white space"}
# Larger text is better kept in a columnar file; also the bound for gzip bombs.
MAX_BYTES = 2 * 2**30
# How much of the file decides about delimiter and header.
SAMPLE_CHARACTERS = 1 << 16
SAMPLE_ROWS = 500

Row = tuple[int, list[str]]  # line number of its start, cells


@dataclass(frozen=True)
class Cells:
    """A rectangular table of text.

    Args:
        path: Where it came from.
        columns: Name to cells, in file order, outer white space removed.
        lines: Line number at which each row starts.
        delimiter: What separates the cells.
        notes: What was inferred, one sentence each.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    delimiter: str
    notes: tuple[str, ...] = field(default=())


def read_delimited(
    path: Path,
    *,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    known: Iterable[str] = (),
    comment: str = "",
) -> Cells:
    """Read a delimited text file.

    Args:
        path: The file; gzip is recognised by content. UTF-8 (with or without BOM) or UTF-16.
        delimiter: Comma, semicolon, tab, bar or space (any white space); None: sniffed.
        names: Column names of a file that has no header line; None: detected.
        known: Names that occur only in a header: a first line that holds one is the header.
        comment: Lines beginning with this text are skipped.

    Raises:
        DataError: The file cannot be read, is no text, is ragged, has an unclosed quote, a
            repeated column name or no rows. The line is named.
    """
    text = _decode(read_bytes(path, limit=MAX_BYTES), path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    if delimiter is None:
        delimiter = "\t" if _plain_suffix(path) == ".tsv" else _sniff(text, comment)
    rows, notes = _all_rows(text, path, delimiter, comment)
    if not rows:
        raise DataError(f"{path}: no rows")
    if names is None and _has_header(rows[:SAMPLE_ROWS], known):
        (line, header), rows = rows[0], rows[1:]
        title = f"the header, line {line}"
        notes.append(f"read: {DELIMITERS[delimiter]}-separated, line {line} names the columns")
        if not rows:
            raise DataError(f"{path}: a header but no rows")
    elif names is None:
        width = len(rows[0][1])
        header, title = [f"column_{i}" for i in range(1, width + 1)], f"line {rows[0][0]}"
        listing = "column_1" if width == 1 else f"column_1 to column_{width}"
        notes.append(f"read: {DELIMITERS[delimiter]}-separated, no header line: {listing}")
    else:
        header, title = list(names), "the known columns"
    _check_width(rows, len(header), title, path)
    columns = [list(map(str.strip, column)) for column in zip(*(r for _, r in rows), strict=True)]
    named = _name_columns([cell.strip() for cell in header], columns, path, notes)
    return Cells(path, named, [line for line, _ in rows], delimiter, tuple(notes))


def parse_rows(
    text: str, path: Path, delimiter: str, *, quotes: bool = True, comment: str = ""
) -> Iterator[Row]:
    """Yield the line number and cells of each row; empty lines are skipped.

    Raises:
        DataError: A quote is never closed, or text follows a closing quote.
    """
    lines = io.StringIO(text, newline="")
    if delimiter == " ":
        for number, line in enumerate(lines, 1):
            if (cells := line.split()) and not (comment and line.startswith(comment)):
                yield number, cells
        return
    # A skipped line stays as an empty one, so that the count of lines remains right.
    kept = ("\n" if line.startswith(comment) else line for line in lines) if comment else lines
    reader = csv.reader(
        kept,
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    start = 1
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {start}: {_csv_reason(error, reader.line_num)}",
            hint='a quote inside a quoted cell is written twice: "5 ""inches"""',
        ) from error


def as_number(cell: str) -> float | None:
    """Return the number that a cell holds, or None (``1_000`` and ``nan`` are no numbers)."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if "_" in cell or value != value else value


def _decode(raw: bytes, path: Path) -> str:
    content = unpack(raw, path, limit=MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes of text", hint="use Parquet")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not valid {encoding.removesuffix('-sig').upper()} text "
            f"(byte {error.start:,})",
            hint='save it as UTF-8 (in Excel: "CSV UTF-8"), or convert it: '
            "iconv -f cp949 -t utf-8 old.csv > new.csv",
        ) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{path}, line {line}: a zero byte: this is not a text file")
    return text


def _plain_suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _sniff(text: str, comment: str) -> str:
    """Return the delimiter that cuts most lines of the beginning into equally many cells."""
    sample = text[:SAMPLE_CHARACTERS]
    if len(text) > len(sample) and "\n" in sample:
        sample = sample[: sample.rindex("\n") + 1]
    lines = [
        ln for ln in sample.splitlines() if ln.strip() and not (comment and ln.startswith(comment))
    ]
    best, best_share = ",", 0.0
    # In this order on a tie: commas also occur inside numbers and sentences, tabs hardly do.
    for delimiter in DELIMITERS:
        if delimiter == " ":
            widths = Counter(len(line.split()) for line in lines)
        else:
            rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
            try:
                widths = Counter(len(row) for row in rows)
            except csv.Error:
                continue
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        # White space also separates words: believed only where it fits every line.
        share = round(count / widths.total(), 1 if delimiter != " " else 6)
        if width > 1 and share > best_share and (delimiter != " " or share == 1.0):
            best, best_share = delimiter, share
    return best


def _all_rows(text: str, path: Path, delimiter: str, comment: str) -> tuple[list[Row], list[str]]:
    try:
        return list(parse_rows(text, path, delimiter, comment=comment)), []
    except DataError:
        # Tab-separated files often use no quoting at all; then a quote is just a character.
        if delimiter != "\t":
            raise
        rows = list(parse_rows(text, path, delimiter, quotes=False, comment=comment))
        if len({len(cells) for _, cells in rows}) != 1:
            raise
        return rows, ["quotes: read as ordinary characters, for they do not pair up"]


def _csv_reason(error: csv.Error, last: int) -> str:
    reason = str(error)
    if "unexpected end" in reason:
        return f"a quote is opened in this row and never closed (read to line {last})"
    if "field larger" in reason:
        limit = csv.field_size_limit()
        return f"a cell of more than {limit:,} characters; probably a quote that is never closed"
    if "expected after" in reason:
        return "text follows a closing quote"
    return f"not a valid row ({reason})"


def _has_header(rows: list[Row], known: Iterable[str]) -> bool:
    """Whether the first row names the columns: it must differ in kind from what is below."""
    first, rest = [cell.strip() for cell in rows[0][1]], [row for _, row in rows[1:]]
    if not set(known).isdisjoint(first):
        return True
    votes = 2 * len(first) if _counts_up(first) else 0
    for i, name in enumerate(first):
        below = [cell for row in rest if i < len(row) and not _is_missing(cell := row[i].strip())]
        numbers = sum(as_number(cell) is not None for cell in below)
        if as_number(name) is not None:
            # A number above numbers is data; above text it may be a year naming a column.
            votes -= 1 if 2 * numbers >= len(below) else 0
        elif _is_missing(name):
            votes -= 1 if name else 0
        elif below and numbers >= 0.9 * len(below):
            votes += 1
        elif name in below:
            votes -= 1
    return votes > 0 or (votes == 0 and all(as_number(name) is None for name in first))


def _counts_up(first: list[str]) -> bool:
    """Whether the numbers in a row are years in order, or the indices of four columns or more."""
    numbers = [int(cell) for cell in first if cell.isascii() and cell.isdigit()]
    if len(numbers) < 2 or any(b - a != 1 for a, b in itertools.pairwise(numbers)):
        return False
    years = numbers[0] >= 1800 and numbers[-1] <= 2200
    indices = numbers[0] == 0 and len(numbers) >= max(4, len(first) - 1)
    return years or indices


def _is_missing(cell: str) -> bool:
    return cell.lower() in MISSING


def _check_width(rows: list[Row], width: int, title: str, path: Path) -> None:
    for line, cells in rows:
        if len(cells) == width:
            continue
        hint = "a cell that contains the delimiter must be put in double quotes"
        if len(cells) == width + 1 and line == rows[0][0]:
            hint = "in R, write.csv(data, file, row.names = FALSE) writes no row names"
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells, expected {width} as in {title}", hint=hint
        )


def _name_columns(
    header: list[str], columns: list[list[str]], path: Path, notes: list[str]
) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for i, (name, cells) in enumerate(zip(header, columns, strict=True), 1):
        if not name and not any(cells):
            notes.append(f"column {i}: no name and no content (a trailing delimiter): left out")
            continue
        key = name or f"column_{i}"
        if key in named:
            first = header.index(name) + 1
            raise DataError(
                f"{path}, line 1: two columns are named {key!r} (columns {first} and {i})",
                hint="rename one of them",
            )
        named[key] = cells
    return named
