"""Tables: CSV and its relatives, Parquet, types of columns, targets, and damaged files."""

from __future__ import annotations

import csv
import gzip
import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data import Source, open_examples, open_source
from chainrule.data.delimited import as_number, parse_rows, read_delimited

MANY = settings(deadline=None, max_examples=300)


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def columns_of(source: Source) -> dict[str, np.ndarray]:
    assert isinstance(source.train.inputs, dict)
    return source.train.inputs


# --- cells --------------------------------------------------------------------------------

# No zero bytes (refused) and no lone carriage returns at the end of a cell that is not quoted.
CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
ROWS = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
)


@MANY
@given(ROWS, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_rows_written_by_the_csv_module_read_back_equal(
    rows: list[list[str]], delimiter: str, end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    result = list(parse_rows(text.getvalue(), Path("t.csv"), delimiter))
    # A row of a single cell of white space is an empty line to every reader.
    kept = [row for row in rows if len(row) > 1 or row[0].strip()]
    assert [cells for _, cells in result] == kept
    # The line number of each row: one more than the line ends written before it.
    for line, cells in result:
        before = rows[: rows.index(cells)] if rows.count(cells) == 1 else None
        if before is not None:
            part = io.StringIO(newline="")
            csv.writer(
                part, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL
            ).writerows(before)
            assert line == 1 + len(list(io.StringIO(part.getvalue(), newline="")))


@MANY
@given(ROWS, st.sampled_from(",;\t|"))
def test_minimal_quoting_loses_only_spaces_at_the_left(
    rows: list[list[str]], delimiter: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL).writerows(rows)
    result = [
        [c.lstrip(" ") for c in cells]
        for _, cells in parse_rows(text.getvalue(), Path("t.csv"), delimiter)
    ]
    kept = [[c.lstrip(" ") for c in row] for row in rows if len(row) > 1 or row[0].strip()]
    assert result == kept


@MANY
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-999, 999)),
        min_size=25,
        max_size=40,
    ),
    st.sampled_from([",", ";", "\t", "|", ", "]),
    st.booleans(),
)
def test_numbers_read_back_exactly_whatever_the_delimiter(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, int]],
    delimiter: str,
    header: bool,
) -> None:
    lines = [delimiter.join(["x", "z", "y"])] if header else []
    lines += [delimiter.join([repr(x), str(z), f"{'ab'[i % 2]}"]) for i, (x, z) in enumerate(rows)]
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    cells = read_delimited(path)
    first, second, _ = cells.columns.values()
    assert [float(c) for c in first] == [x for x, _ in rows]
    assert [int(c) for c in second] == [z for _, z in rows]
    assert list(cells.columns) == (
        ["x", "z", "y"] if header else [f"column_{i}" for i in (1, 2, 3)]
    )
    assert cells.lines == list(range(1 + header, 1 + header + len(rows)))


def test_housing_agrees_with_a_plain_reading(data_dir: Path) -> None:
    path = data_dir / "california-housing" / "housing.csv"
    start = time.perf_counter()
    source = open_source(str(path), target="median_house_value")
    assert time.perf_counter() - start < 1.0
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = columns_of(source)
    for name, column in columns.items():
        plain = [row[name] for row in rows]
        if column.dtype.kind == "f":
            np.testing.assert_array_equal(column, [float(cell or "nan") for cell in plain])
        else:
            assert column.tolist() == plain
    targets = [float(row["median_house_value"]) for row in rows]
    np.testing.assert_array_equal(source.train.targets, targets)
    assert source.train.names is not None
    assert source.train.names[:2] == ("line 2", "line 3")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,x\n2,y\n", ["a", "b"]),
        ("\ufeffa,b\n1,x\n2,y\n", ["a", "b"]),
        ("1,x\n2,y\n3,x\n", ["column_1", "column_2"]),
        ("?,x\n2,y\n3,x\n", ["column_1", "column_2"]),
        ("country,2019,2020\nKorea,3,4\nJapan,5,6\n", ["country", "2019", "2020"]),
        ("0,1,2,3\n5.1,3.5,1,x\n4.9,3,2,y\n", ["0", "1", "2", "3"]),
        ("0,1,1\n1,0,1\n0,0,0\n", ["column_1", "column_2", "column_3"]),
        ("colour,shape\nred,round\nblue,flat\n", ["colour", "shape"]),
        ("red,round\nblue,flat\nred,flat\n", ["column_1", "column_2"]),
        ("a;b\r\n1,5;2\r\n2,5;3\r\n", ["a", "b"]),
        ("a b  c\n1  2 3\n4 5   6\n", ["a", "b", "c"]),
        ('"a, b";c\n"1, 2";3\n"4, 5";6\n', ["a, b", "c"]),
        ("a|b\n1|x,y\n2|z\n", ["a", "b"]),
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"]),
        (",a,b\n0,1,2\n1,3,4\n", ["column_1", "a", "b"]),
        ("\n\na,b\n\n1,2\n3,4\n\n", ["a", "b"]),
        ("a,b\r1,2\r3,4\r", ["a", "b"]),
    ],
)
def test_delimiter_and_header_are_found(tmp_path: Path, text: str, names: list[str]) -> None:
    assert list(read_delimited(Path(write(tmp_path, text))).columns) == names


def test_utf16_and_gzip_are_recognised_by_content(tmp_path: Path) -> None:
    text = "이름\t값\n가\t1\n나\t2\n"
    for raw in (text.encode("utf-16"), gzip.compress(text.encode())):
        cells = read_delimited(Path(write(tmp_path, raw, "t.tsv")))
        assert cells.columns == {"이름": ["가", "나"], "값": ["1", "2"]}


def test_quotes_that_do_not_pair_up_in_tab_separated_text(tmp_path: Path) -> None:
    path = Path(write(tmp_path, 'a\tb\n"open\t1\nx\t2\n', "t.tsv"))
    cells = read_delimited(path)
    assert cells.columns["a"] == ['"open', "x"]
    assert any("ordinary characters" in note for note in cells.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4,5\n6,7\n", "line 3: 3 cells, expected 2 as in the header, line 1"),
        ("a,b\n1,2\n\n\n3\n", "line 5: 1 cells, expected 2"),
        ('a,b\n"x\ny",2\n3\n', "line 4: 1 cells"),
        ('a,b\n1,2\n"3,4\n5,6\n', "line 3: a quote is opened in this row and never closed"),
        ('a,b\n1,2\n"3"x,4\n', "line 3: text follows a closing quote"),
        ("a,b,a\n1,2,3\n", "two columns are named 'a' (columns 1 and 3)"),
        ("", "the file is empty"),
        (" \n \n", "the file is empty"),
        ("a,b\n", "a header but no rows"),
        ("a,b\n1\0,2\n", "line 2: a zero byte"),
        ("a,b,c\n1,2,3,4\n5,6,7,8\n", "row.names = FALSE"),
        (b"a,b\n\xb0\xa1,2\n", "line 2: not valid UTF-8 text (byte 4)"),
        (b"a,b\n1,2\n3,\xff\xfe\n", "line 3: not valid UTF-8"),
        (b"\x1f\x8b\x08\0\0\0", "truncated"),
        ('a,b\n1,"' + "x" * 200_000 + "\n", "a cell of more than 131,072 characters"),
    ],
)
def test_malformed_text_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert str(caught.value).startswith(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1.0), (" -2.5e3 ", -2500.0), ("1_000", None), ("nan", None), ("", None), ("x", None)],
)
def test_what_counts_as_a_number(cell: str, value: float | None) -> None:
    assert as_number(cell) == value


# --- columns ------------------------------------------------------------------------------


def table(rows: int = 30, **columns: object) -> str:
    """A CSV text: each column is a function of the row, or one value for all rows."""
    lines = [",".join(columns)]
    lines += [
        ",".join(str(c(i)) if callable(c) else str(c) for c in columns.values())
        for i in range(rows)
    ]
    return "\n".join(lines) + "\n"


def parity(i: int) -> str:
    return "odd" if i % 2 else "even"


def test_numbers_categories_and_gaps(tmp_path: Path) -> None:
    gaps = ["", "?", "NA", "NaN", "null", "None", "n/a", " "]
    text = table(
        x=lambda i: gaps[i] if i < 8 else i / 4,
        c=lambda i: gaps[i] if i < 8 else "abc"[i % 3],
        y=parity,
    )
    source = open_source(write(tmp_path, text))
    columns = columns_of(source)
    np.testing.assert_array_equal(columns["x"], [math.nan] * 8 + [i / 4 for i in range(8, 30)])
    assert columns["c"].tolist() == [""] * 8 + ["abc"[i % 3] for i in range(8, 30)]
    assert source.classes == ("even", "odd")
    notes = "\n".join(source.notes)
    assert "target: column 'y' (the last one)" in notes
    assert "missing values: x 8 (27 %), c 8 (27 %)" in notes
    assert "classification, because column 'y' holds text" in notes


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinite_number_is_refused_with_its_place(tmp_path: Path, cell: str) -> None:
    text = table(x=lambda i: cell if i == 7 else i, y=parity)
    with pytest.raises(DataError, match=f"line 9, column 'x': '{cell}' is not a finite number"):
        open_source(write(tmp_path, text))


def test_stray_text_among_numbers_is_refused_with_its_line(tmp_path: Path) -> None:
    text = table(100, x=lambda i: "12a" if i == 50 else i * 1.5, y=parity)
    with pytest.raises(DataError, match="line 52, column 'x': '12a' is not a number, but 99 %"):
        open_source(write(tmp_path, text))
    text = table(100, x=lambda i: i % 30 if i % 2 else "abc"[i % 3], y=parity)
    source = open_source(write(tmp_path, text))
    assert columns_of(source)["x"].dtype.kind == "U"
    assert any("50 % of its cells are numbers" in note for note in source.notes)


def test_decimal_commas_are_read_where_the_delimiter_is_no_comma(tmp_path: Path) -> None:
    text = "x;y\n" + "".join(f"{i},5;{parity(i)}\n" for i in range(25))
    source = open_source(write(tmp_path, text))
    assert columns_of(source)["x"].tolist() == [i + 0.5 for i in range(25)]
    assert any("decimal commas" in note for note in source.notes)


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("id", lambda i: i + 1, "only numbers the rows"),
        ("PassengerId", lambda i: 3 * i * i, "only numbers the rows"),
        ("", lambda i: i, "only numbers the rows"),
        ("date", lambda i: f"day {i}", "a different text in every row"),
        ("comment", lambda i: f"text {i // 2 * 2 if i > 20 else i}", "different texts in"),
        ("constant", lambda i: 7, "the same value in every row"),
        ("constant", lambda i: "k", "the same value in every row"),
        ("nothing", lambda i: "", "no value in any row"),
    ],
)
def test_columns_that_say_nothing_are_left_out_and_said(
    tmp_path: Path, name: str, column: object, reason: str
) -> None:
    source = open_source(
        write(tmp_path, table(**{name: column, "x": lambda i: i * i, "y": parity}))
    )
    assert list(columns_of(source)) == ["x"]
    assert any("left out" in note and reason in note for note in source.notes)


def test_a_count_that_is_no_identifier_is_kept(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, table(x=lambda i: i, y=lambda i: i * i)))
    assert list(columns_of(source)) == ["x"]
    assert source.kind == "regression"


def test_target_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, table(Price=lambda i: i * 1.5, x=lambda i: i % 7, y=parity))
    source = open_source(path, target="Price")
    assert (source.target, source.kind, list(columns_of(source))) == (
        "Price",
        "regression",
        ["x", "y"],
    )
    with pytest.raises(ArgumentError, match="did you mean 'Price'"):
        open_source(path, target="price")


def test_rows_without_a_target_are_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, table(x=lambda i: i, y=lambda i: "" if i in (3, 4) else parity(i)))
    source = open_source(path)
    assert len(source.train) == 28
    assert source.train.names is not None
    assert source.train.names[3] == "line 7"
    assert "rows: 2 without a value in 'y' were left out" in source.notes
    with pytest.raises(DataError, match="has no value in any row"):
        open_source(write(tmp_path, "x,y\n1,\n2,\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n1\n2\n", "no input column besides the target 'x'"),
        (table(y=parity, k=7), "holds a single value, '7'"),
        (table(x=lambda i: i, name=lambda i: f"n{i}"), "too many to be classes"),
    ],
)
def test_nothing_to_learn_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(write(tmp_path, text))


def test_kind_can_be_overruled(tmp_path: Path) -> None:
    path = write(tmp_path, table(60, x=lambda i: i, y=lambda i: i % 5))
    assert open_source(path).kind == "classification"
    source = open_source(path, kind="regression")
    assert (source.kind, source.classes) == ("regression", None)
    with pytest.raises(DataError, match="holds text such as 'even'"):
        open_source(write(tmp_path, table(x=lambda i: i, y=parity)), kind="regression")


# --- reading for a trained network ---------------------------------------------------------


def test_open_examples_needs_the_columns_of_training(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "modality": "table",
        "target": "y",
        "kind": "classification",
        "classes": ("even", "odd"),
        "numeric": ("x",),
        "categorical": ("c",),
    }
    part = open_examples(write(tmp_path, "c,extra,x\nred,q,1\n,q,\n"), **how)
    assert isinstance(part.inputs, dict)
    assert part.inputs["c"].tolist() == ["red", ""]
    np.testing.assert_array_equal(part.inputs["x"], [1.0, math.nan])
    assert part.targets is None
    part = open_examples(write(tmp_path, "x,c,y\n1,red,odd\n2,b,even\n"), **how)
    assert np.asarray(part.targets).tolist() == [1, 0]
    for text, message in (
        ("c,X\nred,1\n", "the column 'x', an input of the network, is missing"),
        ("c,x\nred,1\nred,big\n", "line 3, column 'x': 'big' is not a number"),
        ("c,x,y\nred,1,purple\n", "'purple', which is none of the 2 classes"),
    ):
        with pytest.raises(DataError, match=message):
            open_examples(write(tmp_path, text), **how)


# --- Parquet ------------------------------------------------------------------------------


def test_parquet_agrees_with_pyarrow(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="extra 'full' is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="extra 'full' is not installed")
    n = 60
    data = pa.table(
        {
            "f": pa.array([i / 7 if i % 5 else None for i in range(n)], pa.float32()),
            "i": pa.array([i * i for i in range(n)], pa.int16()),
            "b": pa.array([bool(i % 3) if i % 4 else None for i in range(n)]),
            "s": pa.array([["red", "", None, "blue"][i % 4] for i in range(n)]),
            "d": pa.array(["u", "v"] * (n // 2)).dictionary_encode(),
            "m": pa.array([i % 9 for i in range(n)], pa.decimal128(8, 2)),
            "when": pa.array([i * 86_400_000 for i in range(n)], pa.timestamp("ms")),
            "y": pa.array([i * 0.5 for i in range(n)]),
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(data, path)
    source = open_source(str(path))
    columns = columns_of(source)
    for name in ("f", "i", "m"):
        plain = [math.nan if v is None else float(v) for v in data.column(name).to_pylist()]
        np.testing.assert_array_equal(columns[name], plain)
    for name in ("b", "s", "d"):
        plain = ["" if v is None else str(v) for v in data.column(name).to_pylist()]
        assert columns[name].tolist() == plain
    assert "when" not in columns
    np.testing.assert_array_equal(source.train.targets, data.column("y").to_numpy())
    assert source.train.names is not None
    assert source.train.names[0] == "row 1"


def test_parquet_columns_that_are_no_features_are_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="extra 'full' is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="extra 'full' is not installed")
    path = tmp_path / "t.parquet"
    for column, message in (
        (pa.array([[1], [2]]), "column 'x': of type list"),
        (pa.array([b"a", b"b"]), "column 'x': of type binary"),
        (pa.array([math.inf, 1.0]), "row 1, column 'x': inf is not a finite number"),
    ):
        pq.write_table(pa.table({"x": column, "y": [0.5, 1.5]}), path)
        with pytest.raises(DataError, match=message):
            open_source(str(path))


# --- damage -------------------------------------------------------------------------------


def expect_path(error: DataError, path: Path) -> None:
    """A message about a file begins with its path."""
    assert str(error).startswith(str(path))


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    at = st.integers(0, len(valid) - 1)
    tail = st.integers(max(0, len(valid) - 600), len(valid) - 1)  # a Parquet footer
    some = st.binary(min_size=1, max_size=6)
    return st.one_of(
        at.map(lambda i: valid[:i]),
        st.builds(lambda i, b: valid[:i] + b + valid[i + len(b) :], st.one_of(at, tail), some),
        st.builds(lambda i, b: valid[:i] + b + valid[i:], at, some),
        st.builds(lambda i, n: valid[:i] + valid[i + n :], at, st.integers(1, 64)),
        some.map(lambda b: valid + b),
    )


def check_damage(path: Path, valid: bytes) -> None:
    path.write_bytes(valid)
    assert isinstance(open_source(str(path)), Source)

    @MANY
    @given(damaged(valid))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            source = open_source(str(path))
        except DataError as error:
            expect_path(error, path)
        else:
            assert all(
                np.isfinite(c[~np.isnan(c)]).all()
                for c in columns_of(source).values()
                if c.dtype.kind == "f"
            )

    check()


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv_damaged_in_any_way_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    text = table(40, x=lambda i: i / 3, c=lambda i: f'"{"ab, "[i % 4]}"', z=lambda i: i, y=parity)
    valid = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    check_damage(tmp_path_factory.mktemp("csv") / name, valid)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_parquet_damaged_in_any_way_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, compression: str
) -> None:
    pa = pytest.importorskip("pyarrow", reason="extra 'full' is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="extra 'full' is not installed")
    data = pa.table(
        {
            "x": [i / 3 if i % 5 else None for i in range(40)],
            "c": [["red", None, "blue"][i % 3] for i in range(40)],
            "y": [i % 2 for i in range(40)],
        }
    )
    stream = io.BytesIO()
    pq.write_table(data, stream, compression=compression, write_page_checksum=compression == "zstd")
    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    check_damage(path, stream.getvalue())
