"""Folders of images: layouts, sizes, colours, damage."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data import Source, open_examples, open_source
from chainrule.data.picture import inspect_picture, load_picture

Image = pytest.importorskip("PIL.Image", reason="the extra 'full' is not installed")

RNG = np.random.default_rng(0)


def picture(
    path: Path, size: tuple[int, int] = (6, 5), mode: str = "RGB", **how: object
) -> np.ndarray:
    """Save a random picture; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode in ("L", "P") else (size[1], size[0], len(mode))
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode="L" if mode == "P" else None).convert(mode).save(path, **how)
    return pixels


def inputs_of(source: Source) -> np.ndarray:
    assert isinstance(source.train.inputs, np.ndarray)
    return source.train.inputs


def test_folder_of_classes_reads_back_the_pixels(tmp_path: Path) -> None:
    saved = {}
    for name in ("b/2.png", "a/1.png", "a/sub/0.png", "b/3.bmp"):
        saved[name] = picture(tmp_path / name)
    source = open_source(str(tmp_path))
    assert source.train.names == ("a/1.png", "a/sub/0.png", "b/2.png", "b/3.bmp")
    assert source.classes == ("a", "b")
    assert np.asarray(source.train.targets).tolist() == [0, 0, 1, 1]
    for pixels, name in zip(inputs_of(source), source.train.names, strict=True):
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), saved[name])
    assert source.notes[0] == "data: 4 images of 3x5x6 (colour)"


@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "ppm", "PNG"]
)
def test_every_format_agrees_with_pillow(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / f"x.{suffix}")
    source = open_source(str(tmp_path))
    with Image.open(tmp_path / "a" / f"x.{suffix}") as image:
        plain = image.convert("RGB")
    np.testing.assert_array_equal(inputs_of(source)[0].transpose(1, 2, 0), np.asarray(plain))


@pytest.mark.parametrize("test_name", ["test", "Testing"])
def test_own_test_and_validation_parts(tmp_path: Path, test_name: str) -> None:
    for part, count in (("train", 3), ("val", 2), (test_name, 1)):
        for name in ("a", "b"):
            for i in range(count):
                picture(tmp_path / part / name / f"{i}.png")
    source = open_source(str(tmp_path))
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (10, 2)
    assert any("the 4 images of 'val' were added" in note for note in source.notes)


def test_class_of_the_test_part_alone_is_refused(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "x.png")
    with pytest.raises(DataError, match="class 'c' occurs in the test part alone"):
        open_source(str(tmp_path))


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "x.png", mode="L")
    picture(tmp_path / "b" / "x.png", mode="L")
    source = open_source(str(tmp_path))
    np.testing.assert_array_equal(inputs_of(source)[0, 0], pixels)
    assert inputs_of(source).shape == (2, 1, 5, 6)
    picture(tmp_path / "b" / "y.png")
    source = open_source(str(tmp_path))
    assert inputs_of(source).shape == (3, 3, 5, 6)
    assert "colour: 2 grey images among 3: all read as colour" in source.notes


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    clear = np.zeros((5, 6, 4), np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(clear).save(tmp_path / name / "x.png")
    source = open_source(str(tmp_path))
    assert (inputs_of(source) == 255).all()
    assert any("laid on white" in note for note in source.notes)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 30).astype(np.uint16).reshape(5, 6)
    path = tmp_path / "x.png"
    Image.fromarray(deep).save(path)
    pixels = load_picture(path, size=None, grey=True)
    np.testing.assert_allclose(pixels[0], deep / 257, atol=0.51)


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(path, (8, 4), exif=exif)
    assert inspect_picture(path).size == (4, 8)
    assert load_picture(path, size=None, grey=False).shape == (3, 8, 4)


def test_most_common_size_wins_and_is_said(tmp_path: Path) -> None:
    for i, size in enumerate([(8, 8), (8, 8), (16, 8), (4, 4)]):
        picture(tmp_path / "ab"[i % 2] / f"{i}.png", size)
    source = open_source(str(tmp_path))
    assert inputs_of(source).shape == (4, 3, 8, 8)
    assert any(
        "2 of 4 images were brought to 8 x 8 pixels, the most common" in n for n in source.notes
    )
    source = open_source(str(tmp_path), size=(5, 3))
    assert inputs_of(source).shape == (4, 3, 3, 5)
    with pytest.raises(ArgumentError, match="image size 0 x 3"):
        open_source(str(tmp_path), size=(0, 3))


def test_too_many_bytes_are_scaled_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "x.png", (40, 20))
    monkeypatch.setattr("chainrule.data.images.MAX_BYTES", 1200)
    source = open_source(str(tmp_path))
    assert inputs_of(source).shape == (2, 3, 10, 20)
    assert any("so that all fit" in note for note in source.notes)


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", ".git/1.png", "a/.2.png", "__MACOSX/1.png", "loose.png"):
        picture(tmp_path / name)
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"?")
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    source = open_source(str(tmp_path))
    assert source.train.names == ("a/1.png", "b/1.png")
    notes = "\n".join(source.notes)
    assert "1 images directly in" in notes
    assert "such as 'notes.txt'" in notes
    assert "folders without images: empty" in notes


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_that_run_in_circles_end(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "gone.png")
    assert len(open_source(str(tmp_path)).train) == 2


def test_folders_without_classes_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        open_source(str(tmp_path))
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(DataError, match="its sub-folders hold no images: a"):
        open_source(str(tmp_path))
    (tmp_path / "a" / "x.doc").write_text("?")
    with pytest.raises(DataError, match=r"no images among its 1 files, such as a/x\.doc"):
        open_source(str(tmp_path))
    picture(tmp_path / "x.png")
    with pytest.raises(DataError, match="no sub-folder names their class"):
        open_source(str(tmp_path))
    picture(tmp_path / "set" / "cat" / "x.png")
    picture(tmp_path / "set" / "dog" / "x.png")
    with pytest.raises(DataError, match="only one class, 'set'") as caught:
        open_source(str(tmp_path))
    assert f"use {tmp_path / 'set'}" in str(caught.value)


def test_folder_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no column 'x'"):
        open_source(str(tmp_path), target="x")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="give one of the files"):
        open_source(str(tmp_path))
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(ArgumentError, match="not kind 'regression'"):
        open_source(str(tmp_path), kind="regression")


def png_with_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data does not hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (png_with_size(100_000, 100_000), "damaged image|expected at most"),
        (png_with_size(12_000, 12_000), "expected at most 89,478,485"),
        (png_with_size(9_000, 9_000), "cannot be in"),
        (png_with_size(20, 20), "damaged image: .*truncated"),
        (png_with_size(0, 20), "not an image|damaged"),
        (b"", "not an image"),
        (b"<svg></svg>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_damaged_or_absurd_image_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    picture(tmp_path / "a" / "x.png")
    picture(tmp_path / "b" / "x.png")
    path = tmp_path / "b" / "y.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text) as caught:
        open_source(str(tmp_path))
    assert str(caught.value).startswith(str(path))


def expect_path(error: DataError, path: Path) -> None:
    """A message about a file begins with its path."""
    assert str(error).startswith(str(path))


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    at = st.integers(0, len(valid) - 1)
    head = st.integers(0, min(64, len(valid) - 1))
    some = st.binary(min_size=1, max_size=6)
    return st.one_of(
        at.map(lambda i: valid[:i]),
        st.builds(lambda i, b: valid[:i] + b + valid[i + len(b) :], st.one_of(at, head), some),
        st.builds(lambda i, b: valid[:i] + b + valid[i:], at, some),
        st.builds(lambda i, n: valid[:i] + valid[i + n :], at, st.integers(1, 64)),
        some.map(lambda b: valid + b),
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_image_damaged_in_any_way_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, form: str
) -> None:
    path = tmp_path_factory.mktemp("image") / f"x.{form.lower()}"
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(stream, form)

    @settings(deadline=None, max_examples=200)
    @given(damaged(stream.getvalue()))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            info = inspect_picture(path)
            pixels = load_picture(path, size=None, grey=info.grey)
        except DataError as error:
            expect_path(error, path)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[0] == (1 if info.grey else 3)

    check()


def test_open_examples_reads_pictures_with_and_without_classes(tmp_path: Path) -> None:
    for name in ("new/1.png", "new/2.png", "known/a/1.png", "known/b/1.png"):
        picture(tmp_path / name, (12, 9))

    def read(name: str) -> tuple[tuple[int, ...], object]:
        part = open_examples(
            str(tmp_path / name),
            modality="image",
            target="class",
            kind="classification",
            classes=("a", "b"),
            image_shape=(1, 5, 6),
        )
        assert isinstance(part.inputs, np.ndarray)
        return part.inputs.shape, None if part.targets is None else part.targets.tolist()

    assert read("new/1.png") == ((1, 1, 5, 6), None)
    assert read("new") == ((2, 1, 5, 6), None)
    assert read("known") == ((2, 1, 5, 6), [0, 1])


def test_real_pictures_are_read(data_dir: Path) -> None:
    for name, size in (("astronaut.png", (512, 512)), ("rocket.jpg", (640, 427))):
        path = data_dir / "images" / name
        assert inspect_picture(path).size == size
        pixels = load_picture(path, size=None, grey=False)
        with Image.open(path) as image:
            plain = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), plain)
