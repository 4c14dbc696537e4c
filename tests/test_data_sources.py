"""Readers of IDX, NumPy and CIFAR-10 files, named sets, and `open_source`."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import (
    ArgumentError,
    ChainruleError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from chainrule.data import Examples, Source, open_examples, open_source
from chainrule.data.arrays import array_source
from chainrule.data.cifar import find_cifar, read_cifar
from chainrule.data.decide import decide_targets
from chainrule.data.download import RemoteFile
from chainrule.data.gzipped import gunzip
from chainrule.data.idx import read_idx
from chainrule.data.named import open_named
from chainrule.data.npy import read_npy, read_npz
from chainrule.data.packed import unpack_images

MANY = settings(deadline=None, max_examples=300)

IDX_CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))


def idx_bytes(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def expect_path(error: DataError, path: Path) -> None:
    """A message about a file begins with its path."""
    assert str(error).startswith(str(path))


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """Files made from a valid one: cut, bytes changed, inserted, removed, or overwritten."""
    at = st.integers(0, len(valid) - 1)
    some = st.binary(min_size=1, max_size=8)
    extreme = st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"9" * 12, b"\x80"])
    # Half of the damage goes to the first bytes, where headers are.
    place = st.one_of(at, st.integers(0, min(160, len(valid) - 1)))
    return st.one_of(
        at.map(lambda i: valid[:i]),
        st.builds(
            lambda i, b: valid[:i] + b + valid[i + len(b) :], place, st.one_of(some, extreme)
        ),
        st.builds(lambda i, b: valid[:i] + b + valid[i:], place, some),
        st.builds(lambda i, n: valid[:i] + valid[i + n :], place, st.integers(1, 64)),
        some.map(lambda b: valid + b),
        st.binary(max_size=200),
    )


# --- examples -----------------------------------------------------------------------------


def test_take_follows_numpy_indexing() -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    examples = Examples(x, y, ("a", "b", "c", "d"))
    for index in (np.array([3, 0, 0, -1]), np.array([True, False, True, False]), np.array([])):
        part = examples.take(index)
        plain = index.astype(int) if index.size == 0 else index
        np.testing.assert_array_equal(part.inputs, x[plain])
        np.testing.assert_array_equal(part.targets, y[plain])
    assert examples.take(np.array([2, 1])).names == ("c", "b")


def test_take_from_columns_keeps_every_column() -> None:
    examples = Examples({"a": np.array([1.0, 2.0]), "b": np.array(["x", ""])})
    part = examples.take(np.array([1]))
    assert isinstance(part.inputs, dict)
    assert (part.inputs["a"].tolist(), part.inputs["b"].tolist()) == ([2.0], [""])


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (np.array([4]), IndexRangeError),
        (np.array([-5]), IndexRangeError),
        (np.array([0.5]), DTypeError),
        (np.array([True]), ShapeError),
        (np.array([[0]]), ShapeError),
    ],
)
def test_take_refuses_a_wrong_index(index: np.ndarray, error: type[ChainruleError]) -> None:
    with pytest.raises(error):
        Examples(np.zeros((4, 1))).take(index)


def test_examples_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="inputs: 3, targets: 2"):
        Examples(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(ShapeError, match="column 'b': 1"):
        Examples({"a": np.zeros(2), "b": np.zeros(1)})


def test_source_kind_and_classes_must_agree() -> None:
    part = Examples(np.zeros((1, 1)), np.zeros(1))
    with pytest.raises(ArgumentError, match="regression"):
        Source("x", "x", "array", "regression", part, None, ("a",), "y")


# --- IDX ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(IDX_CODES))
@pytest.mark.parametrize("packed", [False, True])
def test_idx_reads_every_type_back(tmp_path: Path, form: str, packed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(form)
    raw = idx_bytes(array, IDX_CODES[form])
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    result = read_idx(path)
    np.testing.assert_array_equal(result, array)
    assert result.dtype.isnative


@pytest.mark.parametrize("packed", [False, True])
def test_idx_damaged_in_any_way_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, packed: bool
) -> None:
    raw = idx_bytes(np.arange(200, dtype=np.uint8).reshape(8, 5, 5))
    valid = gzip.compress(raw) if packed else raw
    path = tmp_path_factory.mktemp("idx") / "x-idx3-ubyte"

    @MANY
    @given(damaged(valid))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            array = read_idx(path)
        except DataError as error:
            expect_path(error, path)
        else:
            assert array.nbytes <= 1032 * max(1, len(content))

    check()


def test_idx_absurd_header_is_refused_before_allocation(tmp_path: Path) -> None:
    path = tmp_path / "x"
    head = struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    for content in (head + b"abc", gzip.compress(head + b"abc")):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot hold them"):
            read_idx(path)


def test_idx_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x"
    raw = idx_bytes(np.zeros((4, 4), np.uint8))
    for content, text in (
        (b"PK\3\4" + raw, "not an IDX file: it begins with 50 4b 03 04"),
        (raw[:-1], "16 bytes"),
        (raw + b"\0", "but more follow"),
        (gzip.compress(raw)[:-6], "truncated"),
        (gzip.compress(raw) + b"junk", "4 bytes after the gzip data"),
        (b"\0\0\x08\x00", "0 axes"),
        (b"", "begins with nothing"),
        (b"\0\0\x08\x03\0\0", "truncated in the header"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=text):
            read_idx(path)
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "absent")


def test_gunzip_reads_several_members_and_padding(tmp_path: Path) -> None:
    raw = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 9
    assert bytes(gunzip(raw, tmp_path)) == gzip.decompress(raw) == b"one two"
    large = os.urandom(1 << 12) * 900
    assert bytes(gunzip(gzip.compress(large, 1), tmp_path)) == large
    assert bytes(gunzip(gzip.compress(large, 1), tmp_path, limit=77)) == large[:77]


def test_gunzip_notices_a_wrong_checksum(tmp_path: Path) -> None:
    raw = bytearray(gzip.compress(b"data" * 100))
    raw[-5] ^= 1
    with pytest.raises(DataError, match="damaged gzip data"):
        gunzip(bytes(raw), tmp_path / "x.gz")


# --- npy and npz --------------------------------------------------------------------------


def npy_bytes(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.array([b"a", b"bcd"]),
        np.array([True, False]),
        np.arange(4, dtype=">i4"),
        np.zeros((0, 3), np.float16),
        np.array(5),
    ],
)
def test_npy_agrees_with_numpy(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "x.npy"
    for version in ((1, 0), (2, 0)):
        path.write_bytes(npy_bytes(array, version))
        result, known = read_npy(path), np.load(path, allow_pickle=False)
        np.testing.assert_array_equal(result, known)
        assert result.shape == known.shape
        assert result.flags.writeable


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "trap"),))

    array = np.array([Trap()], dtype=object)
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.zeros(1), y=array)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match="Python objects: refused"):
            open_source(str(tmp_path / name))
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("descr", "shape", "text"),
    [
        ("<f8", (10**12, 10**6), "promises float64"),
        ("<U0", (10**18,), "expected numbers, booleans or text"),
        ("<f8", (0, 10**30), "damaged array|promises|impossible"),
        ("<f8", (-1,), "impossible shape"),
        ("<c16", (2,), "expected numbers"),
        ("<M8[s]", (2,), "expected numbers"),
        ([("a", "<f8")], (2,), "structured type"),
        ("i4,(1000000000,)f8", (2,), "structured type|header"),
        ("(100000,100000)f8", (2,), "structured type|header"),
        ("<f8", (True, 2), "impossible shape|header"),
        ("<f8", (2,) * 70, "impossible shape|header"),
        ("no such type", (2,), "header"),
    ],
)
def test_npy_hostile_header_is_a_data_error(
    tmp_path: Path, descr: object, shape: tuple[int, ...], text: str
) -> None:
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"\0" * 16)
    with pytest.raises(DataError, match=text):
        read_npy(path)


@pytest.mark.parametrize("head", [b"(" * 9000, b"{'descr': " + b"-" * 9000 + b"1}", b"\xff" * 50])
def test_npy_header_that_is_no_literal_is_a_data_error(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    with pytest.raises(DataError, match="header"):
        read_npy(path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "zipped.npz"])
def test_npy_and_npz_damaged_in_any_way_are_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    path = folder / f"x.{suffix}"
    x, y = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20) % 3
    if suffix == "npy":
        np.save(path, x)
        np.save(folder / "y.npy", y)
    else:
        (np.savez if suffix == "npz" else np.savez_compressed)(path, x=x, y=y)
    valid = path.read_bytes()
    assert array_source(path).classes == ("0", "1", "2")

    @MANY
    @given(damaged(valid))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            source = array_source(path)
        except DataError as error:
            expect_path(error, path)
        else:
            assert isinstance(source, Source)

    check()


def test_npz_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros(10))
    raw = path.read_bytes()
    at = raw.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    path.write_bytes(raw[:at] + struct.pack("<I", 0xFFFFFFF0) + raw[at + 4 :])
    with pytest.raises(DataError, match="damaged"):
        read_npz(path)


def test_npz_with_repeated_or_foreign_members(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy_bytes(np.zeros(2)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(DataError, match="two of that name"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="no arrays"):
        read_npz(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(DataError, match="compressed in a way"):
        read_npz(path)


# --- which arrays -------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 4


@pytest.mark.parametrize(
    ("x", "y"),
    [("x", "y"), ("X", "y"), ("inputs", "targets"), ("images", "labels"), ("data", "target")],
)
def test_pairs_are_recognised_by_name(tmp_path: Path, x: str, y: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{"other": np.zeros(5), x: X, y: Y})
    source = open_source(str(path))
    np.testing.assert_array_equal(source.train.inputs, X)
    np.testing.assert_array_equal(source.train.targets, Y)
    assert (source.modality, source.kind, source.target) == ("array", "classification", y)
    assert "arrays not used: other" in source.notes


@pytest.mark.parametrize("form", ["{0}_{1}", "{1}_{0}"])
def test_training_and_test_parts_are_recognised(tmp_path: Path, form: str) -> None:
    names = [form.format(a, b) for b in ("train", "test") for a in ("x", "y")]
    path = tmp_path / "a.npz"
    np.savez(path, **dict(zip(names, (X, Y, X[:8], Y[:8]), strict=True)))
    source = open_source(str(path))
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (40, 8)


def test_npy_finds_its_partner(tmp_path: Path) -> None:
    np.save(tmp_path / "images_train.npy", X)
    with pytest.raises(DataError, match=r"put labels_train\.npy beside it"):
        open_source(str(tmp_path / "images_train.npy"))
    np.save(tmp_path / "labels_train.npy", Y)
    assert len(open_source(str(tmp_path / "images_train.npy")).train) == 40


def test_unknown_arrays_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", foo=X, bar=Y)
    with pytest.raises(DataError, match=r"foo float64 \[40, 3\], bar int64 \[40\]"):
        open_source(str(tmp_path / "a.npz"))
    assert open_source(str(tmp_path / "a.npz"), target="bar").target == "bar"
    with pytest.raises(ArgumentError, match="did you mean 'bar'"):
        open_source(str(tmp_path / "a.npz"), target="baz")


@pytest.mark.parametrize(
    ("inputs", "shape", "modality"),
    [
        (np.zeros((6, 28, 28), np.uint8), (6, 1, 28, 28), "image"),
        (np.zeros((6, 28, 30, 3), np.uint8), (6, 3, 28, 30), "image"),
        (np.zeros((6, 3, 28, 30), np.uint8), (6, 3, 28, 30), "image"),
        (np.full((6, 3, 8, 8), 200), (6, 3, 8, 8), "image"),
        (np.ones((6, 9, 9), bool), (6, 1, 9, 9), "image"),
        (np.zeros((6, 28, 30, 3), np.float32), (6, 3, 28, 30), "array"),
        (np.zeros((6, 7)), (6, 7), "array"),
        (np.zeros(6), (6, 1), "array"),
    ],
)
def test_images_in_arrays_are_recognised(
    tmp_path: Path, inputs: np.ndarray, shape: tuple[int, ...], modality: str
) -> None:
    np.savez(tmp_path / "a.npz", x=inputs, y=np.arange(6) % 2)
    source = open_source(str(tmp_path / "a.npz"))
    assert isinstance(source.train.inputs, np.ndarray)
    assert (source.train.inputs.shape, source.modality) == (shape, modality)


def test_arrays_that_do_not_fit_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    bad = X.copy()
    bad[17, 2] = np.nan
    for arrays, text in (
        ({"x": bad, "y": Y}, r"x\[17, 2\] is nan"),
        ({"x": X, "y": Y[:-1]}, "40 examples, 'y' has 39 targets"),
        ({"x": X.astype(str), "y": Y}, "expected numbers"),
        ({"x": X, "y": np.zeros((40, 2))}, "expected one target an example"),
        ({"x": X, "y": np.zeros(40)}, "single value"),
        ({"x": X[:0], "y": Y[:0]}, "no examples"),
        ({"x": X, "y": np.full(40, np.inf)}, "not a finite number"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=text):
            open_source(str(path))


def test_targets_as_text_one_hot_or_with_class_names(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=np.eye(4)[Y])
    np.testing.assert_array_equal(open_source(str(path)).train.targets, Y)
    np.savez(path, x=X, y=np.array(["d", "c", "b", "a"])[Y])
    assert open_source(str(path)).classes == ("a", "b", "c", "d")
    np.savez(path, data=X, target=Y, target_names=np.array(["p", "q", "r", "s", "t"]))
    assert open_source(str(path)).classes == ("p", "q", "r", "s", "t")
    np.savez(path, data=X, target=Y + 3, target_names=np.array(["p", "q", "r", "s", "t"]))
    with pytest.raises(DataError, match="holds 6, but there are 5 class names"):
        open_source(str(path))


# --- the decision -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array(["a", "b"] * 5), "classification"),
        (np.array([True, False] * 5), "classification"),
        (np.array([0.0, 1.0] * 5), "classification"),
        (np.array([0.5, 1.5] * 5), "regression"),
        (np.arange(10.0), "regression"),
        (np.arange(40) % 20, "classification"),
        (np.arange(100.0) % 25, "regression"),
        (np.arange(1000) % 100, "classification"),
        (np.arange(1000) % 100 + 1, "regression"),
    ],
)
def test_kind_is_inferred(values: np.ndarray, kind: str) -> None:
    decision = decide_targets(values, None, kind=None, what="y", origin="f")
    assert decision.kind == kind
    other = "regression" if kind == "classification" else "classification"
    if values.dtype.kind in "if":
        assert decide_targets(values, None, kind=other, what="y", origin="f").kind == other


def test_class_known_from_the_test_part_alone_gets_an_index() -> None:
    decision = decide_targets(
        np.array(["a", "b"]), np.array(["c"]), kind=None, what="y", origin="f"
    )
    assert decision.classes == ("a", "b", "c")
    assert decision.test is not None
    assert decision.test.tolist() == [2]


# --- named sets ---------------------------------------------------------------------------


def test_digits_match_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="extra 'full' is not installed")
    bunch = datasets.load_digits()
    source = open_source("digits")
    assert isinstance(source.train.inputs, np.ndarray)
    assert source.train.inputs.dtype == np.uint8
    assert np.abs(source.train.inputs[:, 0] / 255 * 16 - bunch.images).max() < 16 / 255
    np.testing.assert_array_equal(source.train.targets, bunch.target)


def test_mnist_has_the_published_class_counts(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(data_dir))
    source = open_source("mnist")
    assert source.test is not None
    assert isinstance(source.train.inputs, np.ndarray)
    assert source.train.inputs.shape == (60000, 1, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(np.asarray(source.train.targets)).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(np.asarray(source.test.targets)).tolist() == counts
    # The mean ink of the training images, as published everywhere: 0.1307.
    assert abs(source.train.inputs.mean() / 255 - 0.1307) < 1e-4
    raw = gzip.decompress((data_dir / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert np.asarray(source.test.inputs).tobytes() == raw[16:]
    by_path = open_source(str(data_dir / "mnist"))
    np.testing.assert_array_equal(by_path.train.targets, source.train.targets)


def test_adult_matches_its_description(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(data_dir))
    source = open_source("adult")
    assert source.test is not None
    assert source.classes == ("<=50K", ">50K")
    assert np.bincount(np.asarray(source.train.targets)).tolist() == [24720, 7841]
    assert np.bincount(np.asarray(source.test.targets)).tolist() == [12435, 3846]
    columns = source.train.inputs
    assert isinstance(columns, dict)
    assert len(columns) == 14
    assert sum(column.dtype.kind == "f" for column in columns.values()) == 6
    assert (columns["workclass"] == "").sum() == 1836


def test_wine_and_housing_match_their_descriptions(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(data_dir))
    wine = open_source("wine-quality")
    assert (wine.kind, len(wine.train), wine.classes) == ("regression", 6497, None)
    housing = open_source("california-housing")
    targets = np.asarray(housing.train.targets)
    assert (housing.kind, targets.min(), targets.max()) == ("regression", 14999.0, 500001.0)
    assert isinstance(housing.train.inputs, dict)
    assert np.isnan(housing.train.inputs["total_bedrooms"]).sum() == 207


def test_named_set_is_fetched_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    asked: list[str] = []

    def fetch(file: RemoteFile, folder: Path) -> Path:
        asked.append(file.name)
        folder.mkdir(parents=True, exist_ok=True)
        count = 9 if "train" in file.name else 4
        array = np.zeros((count, 5, 5), np.uint8) if "idx3" in file.name else np.arange(count) % 3
        path = folder / file.name
        path.write_bytes(gzip.compress(idx_bytes(array.astype(np.uint8))))
        return path

    first = open_named("mnist", fetch=fetch)
    second = open_named("mnist", fetch=fetch)
    assert (len(first.train), len(asked)) == (9, 4)
    assert first.classes == second.classes == tuple("0123456789")
    cached = tmp_path / "cache" / "mnist" / "train-images-idx3-ubyte.gz"
    cached.write_bytes(cached.read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated") as caught:
        open_named("mnist", fetch=fetch)
    assert "it will be downloaded anew" in str(caught.value)


def test_named_set_of_images_has_no_columns() -> None:
    with pytest.raises(ArgumentError, match="no column 'x'"):
        open_source("digits", target="x")


def test_data_folder_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="although CHAINRULE_DATA names it"):
        open_source("mnist")


# --- CIFAR-10 -----------------------------------------------------------------------------


def cifar_record_file(count: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def test_cifar_binary_files_and_archive_agree(tmp_path: Path) -> None:
    folder = tmp_path / "bin" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    names = ["data_batch_1", "data_batch_2", "test_batch"]
    for seed, name in enumerate(names):
        (folder / f"{name}.bin").write_bytes(cifar_record_file(10_000, seed))
    archive = tmp_path / "tar"
    archive.mkdir()
    with tarfile.open(archive / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as tar:
        # Names that would leave the folder, and links, must have no effect.
        evil = tarfile.TarInfo("../../evil.bin")
        tar.addfile(evil, io.BytesIO())
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name in names:
            tar.add(folder / f"{name}.bin", f"cifar-10-batches-bin/{name}.bin")
    places = [find_cifar(tmp_path / "bin"), find_cifar(archive)]
    results = [read_cifar(place) for place in places if place is not None]
    assert len(results) == 2
    for train, test, batches in results:
        raw = np.frombuffer((folder / "test_batch.bin").read_bytes(), np.uint8).reshape(-1, 3073)
        np.testing.assert_array_equal(test[1], raw[:, 0])
        np.testing.assert_array_equal(test[0].reshape(-1, 3072), raw[:, 1:])
        assert (train[0].shape, batches) == ((20_000, 3, 32, 32), 2)
    assert not (tmp_path / "evil.bin").exists()
    whole = (archive / "cifar-10-binary.tar.gz").read_bytes()
    (archive / "cifar-10-binary.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged archive"):
        read_cifar(archive / "cifar-10-binary.tar.gz")


def test_cifar_damaged_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(cifar_record_file(3, 0))
    for content, text in (
        (cifar_record_file(3, 1)[:-1], "2 records of 3,073 bytes and 3,072 bytes more"),
        (b"", "0 records"),
        (b"\x0a" + b"\0" * 3072, "class 10, expected 0 to 9"),
    ):
        (tmp_path / "test_batch.bin").write_bytes(content)
        with pytest.raises(DataError, match=text):
            read_cifar(tmp_path)


def packed_black(count: int) -> dict[str, np.ndarray]:
    """A packed batch whose residuals are all zero: every pixel equals its prediction, 128."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = stream.compress(bytes(1024 * count)) + stream.flush()
    weights = np.zeros((3, 17), np.int32)
    weights[:, 16] = 4096
    return {
        "weights": weights,
        "limits": np.zeros((3, 0), np.int32),
        "sizes": np.full((3, 1), len(body), np.int64),
        "payload": np.frombuffer(body * 3, np.uint8),
    }


def test_packed_images_are_decoded_or_refused(tmp_path: Path) -> None:
    arrays = packed_black(2)
    np.testing.assert_array_equal(unpack_images(arrays, 2, tmp_path), 128)
    broken = {
        "weights": np.zeros((3, 16), np.int32),
        "limits": np.zeros((3, 4), np.int32),
        "sizes": np.full((3, 1), 2**40, np.int64),
        "payload": np.zeros(3 * int(arrays["sizes"][0, 0]), np.uint8),
    }
    for name, array in broken.items():
        with pytest.raises(DataError, match="damaged"):
            unpack_images({**arrays, name: array}, 2, tmp_path)
    with pytest.raises(DataError, match="pixels for 3 images"):
        unpack_images(arrays, 3, tmp_path)


def test_cifar_packed_test_batch_has_a_thousand_of_each(data_dir: Path) -> None:
    if not (data_dir / "cifar10" / "test_batch.npz").is_file():
        pytest.skip("no packed CIFAR-10 in CHAINRULE_DATA")
    train, test, _ = read_cifar(data_dir / "cifar10")
    assert np.bincount(test[1]).tolist() == [1000] * 10
    # Mean and deviation of the training images, as published: 0.4914 0.4822 0.4465, 0.247.
    means = train[0].mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=3e-3)


# --- open_source --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("mnst", "did you mean 'mnist'"),
        ("zzz", "named sets: digits, mnist"),
        ("absent/file.csv", "absent/file.csv: no such file or folder"),
    ],
)
def test_unknown_word_or_path_is_explained(spec: str, text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        open_source(spec)


def test_misspelt_file_gets_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "Train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"did you mean 'Train\.csv'"):
        open_source(str(tmp_path / "trian.csv"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.xlsx", "CSV UTF-8"),
        ("x.pkl", "pickles can run any program"),
        ("x", "without a suffix"),
        ("x.bin", r"supported: \.csv, \.tsv"),
        ("x-idx3-ubyte.gz", "give the folder"),
        ("x.png", "a single image"),
    ],
)
def test_unsupported_file_says_what_to_do(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ArgumentError, match=text):
        open_source(str(tmp_path / name))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'regression'"):
        open_source("digits", kind="regresion")


def test_idx_folder_with_labels_from_one(tmp_path: Path) -> None:
    images = np.zeros((6, 4, 4), np.uint8)
    labels = np.array([1, 2, 3, 1, 2, 3], np.uint8)
    (tmp_path / "emnist-letters-train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    with pytest.raises(DataError, match="train labels is missing"):
        open_source(str(tmp_path))
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    source = open_source(str(tmp_path))
    assert source.classes == ("1", "2", "3")
    assert np.asarray(source.train.targets).tolist() == [0, 1, 2, 0, 1, 2]


def test_open_examples_reads_arrays_with_and_without_targets(tmp_path: Path) -> None:
    np.save(tmp_path / "new.npy", X)
    part = open_examples(
        str(tmp_path / "new.npy"),
        modality="array",
        target="y",
        kind="classification",
        classes=("0", "1", "2", "3"),
    )
    assert part.targets is None
    assert math.isclose(float(np.asarray(part.inputs).sum()), float(X.sum()))
    np.savez(tmp_path / "new.npz", x=X[:2], y=Y[:2])
    part = open_examples(
        str(tmp_path / "new.npz"),
        modality="array",
        target="y",
        kind="classification",
        classes=("0", "1", "2", "3"),
    )
    assert np.asarray(part.targets).tolist() == [0, 1]


def test_open_examples_refuses_data_of_another_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "new.npy", X)
    with pytest.raises(DataError, match="not a table"):
        open_examples(str(tmp_path / "new.npy"), modality="table", target="y", kind="regression")
