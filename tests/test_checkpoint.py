"""Checkpoints: the format against the library safetensors, damage of every kind, crashes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule
from chainrule.core import files
from chainrule.core.dtype import ALL
from chainrule.core.errors import ArgumentError, DataError, StateError
from chainrule.graph.tensor import Tensor
from chainrule.train import load_weights, save_weights
from chainrule.train.checkpoint import BestModel, Checkpoints
from chainrule.train.packing import pack, unpack
from chainrule.train.tensor_file import DIGEST, decode, encode


def some_tensors() -> dict[str, Tensor]:
    """Return tensors of every dtype, with 0-d, empty and odd shapes."""
    rng = np.random.default_rng(0)
    tensors = {}
    for dtype in ALL:
        for shape in ((), (3,), (2, 0), (1, 3, 5)):
            values = chainrule.tensor(rng.integers(0, 100, shape), dtype=dtype)
            tensors[f"{dtype.name}.{len(shape)}"] = values
    tensors["special"] = chainrule.tensor([np.nan, np.inf, -0.0, 1e-45], dtype="float32")
    return tensors


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert second[name].dtype is tensor.dtype, name
        assert second[name].shape == tensor.shape, name
        assert second[name].array.tobytes() == tensor.array.tobytes(), name


# --- the format -----------------------------------------------------------------------------------


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", some_tensors(), {"note": "안녕"})
    assert_equal(some_tensors(), load_weights(tmp_path / "a.safetensors"))
    contents = decode((tmp_path / "a.safetensors").read_bytes(), "a")
    assert contents.metadata == {"note": "안녕"}
    loaded = contents.tensors["float32.3"].array
    assert loaded.flags.aligned
    assert loaded.flags.writeable


def test_the_library_safetensors_reads_what_is_written(tmp_path: Path) -> None:
    numpy_api = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    tensors = {k: v for k, v in some_tensors().items() if not k.startswith("bfloat16")}
    path = tmp_path / "a.safetensors"
    save_weights(path, tensors, {"note": "x"})
    found = numpy_api.load_file(path)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.array.dtype
        assert found[name].shape == tensor.shape
        assert found[name].tobytes() == tensor.array.tobytes()


def test_what_the_library_safetensors_writes_is_read(tmp_path: Path) -> None:
    numpy_api = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    tensors = {k: v for k, v in some_tensors().items() if not k.startswith("bfloat16")}
    arrays = {name: np.asarray(tensor.array) for name, tensor in tensors.items()}
    numpy_api.save_file(arrays, tmp_path / "a.safetensors", metadata={"format": "np"})
    found = load_weights(tmp_path / "a.safetensors")
    assert_equal(tensors, found)


def test_bfloat16_goes_to_pytorch_and_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    torch_api = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    x = chainrule.tensor([1.0, -2.5, 3e38, np.inf], dtype="bfloat16")
    save_weights(tmp_path / "a.safetensors", {"x": x})
    found = torch_api.load_file(tmp_path / "a.safetensors")["x"]
    assert found.dtype is torch.bfloat16
    assert found.float().tolist() == x.tolist()
    torch_api.save_file({"x": found}, tmp_path / "b.safetensors")
    assert_equal({"x": x}, load_weights(tmp_path / "b.safetensors"))


def test_same_tensors_give_the_same_bytes() -> None:
    tensors = some_tensors()
    backwards = dict(reversed(tensors.items()))
    assert encode(tensors, {"a": "1", "b": "2"}) == encode(backwards, {"b": "2", "a": "1"})


def test_names_and_texts_are_checked() -> None:
    with pytest.raises(ArgumentError, match="reserved"):
        encode({"__metadata__": chainrule.tensor(1.0)})
    with pytest.raises(ArgumentError, match="no text"):
        encode({}, {"a": 1})  # type: ignore[dict-item]


# --- damaged weights ------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed() -> None:
    tensors = {"a.weight": chainrule.tensor([1.0, 2.0]), "b": chainrule.tensor(3)}
    content = encode(tensors)
    padding = content.index(b"}}") + 2, 8 + int.from_bytes(content[:8], "little")
    name = content.index(DIGEST.encode())
    for position in range(len(content)):
        if padding[0] <= position < padding[1]:
            continue
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            try:
                found = decode(bytes(damaged), "x.safetensors").tensors
            except DataError as error:
                assert error.message.startswith("x.safetensors: damaged")  # noqa: PT017 - either is right
            else:
                # Under another name the digest is a text like others; the tensors are intact.
                assert name <= position < name + len(DIGEST)
                assert_equal(tensors, found)


def test_every_truncation_is_noticed() -> None:
    content = encode({"a": chainrule.tensor([1.0, 2.0])}, sign=False)
    for length in range(len(content)):
        with pytest.raises(DataError, match=r"^x\.safetensors: damaged"):
            decode(content[:length], "x.safetensors")
    with pytest.raises(DataError, match="bytes of elements"):
        decode(content + b"\0", "x.safetensors")


def header(table: Any, data: bytes = b"") -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(raw).to_bytes(8, "little") + raw + data


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "too few"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a header of"),
        ((2**63).to_bytes(8, "little") + b"{}", "a header of 9,223,372,036,854,775,808 bytes"),
        (header(b"[1]"), "no JSON object"),
        (header(b"\xff{}"), "no JSON"),
        (header(b"[" * 100_000), "no JSON"),
        (header(b'{"a": 1, "a": 2}'), "twice"),
        (header({"a": 1}), "no dtype, shape"),
        (header({"a": {"dtype": "F8", "shape": [], "data_offsets": [0, 1]}}), "dtype 'F8'"),
        (header({"a": {"dtype": ["F32"], "shape": [], "data_offsets": [0, 1]}}), "dtype"),
        (header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "shape [-1]"),
        (header({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}), "shape"),
        (header({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}), "takes"),
        (header({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"ab"), "begins"),
        (
            header(
                {
                    "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                    "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
                },
                b"abc",
            ),
            "begins at byte 1, not 2",
        ),
        (header({"__metadata__": {"a": 1}}), "no texts"),
        (header({"__metadata__": [1]}), "no texts"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_files_are_refused_or_read_but_never_crash(data: st.DataObject) -> None:
    content = bytearray(encode({"a": chainrule.tensor([1.0, 2.0])}, sign=False))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=3)
        )
        if not content:
            break
    try:
        decode(bytes(content), "x")
    except DataError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 - either outcome is right


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="is a folder"):
        load_weights(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        save_weights(tmp_path / "no" / "a.safetensors", {})


# --- packing --------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=4) | st.integers(-3, 3) | st.sampled_from(["$tensor", "$x", "a.b"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(map(repr, first)) == list(map(repr, second)) and all(
            same(first[key], second[key]) for key in first
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return repr(first) == repr(second)  # tells -0.0 from 0.0


@settings(max_examples=200, deadline=None)
@given(values)
def test_packed_values_come_back_equal(value: Any) -> None:
    tensors: dict[str, Tensor] = {}
    packed = json.loads(json.dumps(pack(value, "x", tensors), allow_nan=False))
    assert same(value, unpack(packed, tensors, "x"))


def test_packed_tensors_keep_kind_dtype_and_name() -> None:
    value = {"a": {"b": chainrule.tensor([1, 2])}, "a.b": np.array([0.5]), "c": np.float32(2.5)}
    tensors: dict[str, Tensor] = {}
    packed = pack(value, "x", tensors)
    assert sorted(tensors) == ["x.a.b", "x.a.b#2"]
    found = unpack(packed, tensors, "x")
    assert isinstance(found["a"]["b"], Tensor)
    assert isinstance(found["a.b"], np.ndarray)
    assert found["a.b"].dtype == np.float64
    assert found["c"] == 2.5


def test_what_cannot_be_packed_is_named() -> None:
    with pytest.raises(StateError, match=r"optimizer\.groups\.1 is set"):
        pack({"groups": [1, {2}]}, "optimizer", {})


@pytest.mark.parametrize(
    "packed",
    [
        {"$tensor": "missing"},
        {"$float": "1.0"},
        {"$tuple": 3},
        {"$items": [[1]]},
        {"$items": [[[1], 2]]},
        {"$other": 1},
        {"$tensor": "a", "b": 1},
    ],
)
def test_damaged_packed_values_are_refused(packed: Any) -> None:
    with pytest.raises(DataError, match=r"^last\.json: "):
        unpack(packed, {}, "last.json")


# --- checkpoints ----------------------------------------------------------------------------------


def state(number: int) -> dict[str, Any]:
    return {"model": {"w": chainrule.tensor([float(number)] * 5)}, "counters": {"step": number}}


def number_of(checkpoints: Checkpoints) -> int:
    found = checkpoints.load()
    number: int = found["counters"]["step"]
    assert found["model"]["w"].tolist() == [float(number)] * 5
    return number


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert not checkpoints.exist()
    for number in (1, 2, 3):
        checkpoints.save(state(number), number)
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == [
        *("last.json", "previous.json", "step-00000002.safetensors", "step-00000003.safetensors"),
    ]
    assert number_of(Checkpoints(tmp_path)) == 3


def test_a_second_checkpoint_of_the_same_step_leaves_the_first_until_it_is_complete(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2, 3):
        checkpoints.save(state(number), 7)
        assert number_of(Checkpoints(tmp_path)) == number
    # After a restart, too.
    again = Checkpoints(tmp_path)
    again.load()
    again.save(state(4), 7)
    assert number_of(Checkpoints(tmp_path)) == 4


def count_writes(monkeypatch: pytest.MonkeyPatch, fail_at: int) -> Callable[[], int]:
    """Let the n-th system call that changes the disk fail as if the machine stopped there."""
    done = 0

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done >= fail_at:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(files.os, "replace", wrap(os.replace))
    monkeypatch.setattr(files.os, "fsync", wrap(os.fsync))
    monkeypatch.setattr(files.os, "unlink", wrap(os.unlink))
    return lambda: done


def test_a_crash_at_any_moment_leaves_a_readable_checkpoint(tmp_path: Path) -> None:
    for fail_at in range(1, 40):
        run = tmp_path / str(fail_at)
        checkpoints = Checkpoints(run)
        checkpoints.save(state(1), 1)
        checkpoints.save(state(2), 2)
        with pytest.MonkeyPatch.context() as patch:
            count = count_writes(patch, fail_at)
            try:
                checkpoints.save(state(3), 3)
            except KeyboardInterrupt:
                pass
            else:
                assert count() < fail_at
                assert number_of(Checkpoints(run)) == 3
                break
        assert number_of(Checkpoints(run)) in (2, 3)
        # Going on after the crash works, and leaves nothing behind.
        again = Checkpoints(run)
        again.load()
        again.save(state(4), 4)
        assert number_of(Checkpoints(run)) == 4
        assert len(list(run.glob("checkpoints/*"))) == 4
        assert not list(run.glob("checkpoints/.*"))
    else:
        pytest.fail("the save never came to its end")


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DataError, match="the disk is full"):
        checkpoints.save(state(2), 2)
    monkeypatch.undo()
    assert number_of(Checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("name", ["last.json", "step-00000003.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove", "foreign"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_offered(
    tmp_path: Path, name: str, damage: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (2, 3):
        checkpoints.save(state(number), number)
    path = checkpoints.folder / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 4
        whole = {"truncate": content[:-9], "flip": content, "empty": b"", "foreign": b"{}"}[damage]
        path.write_bytes(bytes(whole))
    with pytest.raises(DataError) as caught:
        Checkpoints(tmp_path).load()
    assert str(caught.value).startswith(f"{path}")
    previous, last = checkpoints.folder / "previous.json", checkpoints.folder / "last.json"
    assert caught.value.hint.endswith(f"mv {previous} {last}")
    previous.replace(last)
    again = Checkpoints(tmp_path)
    assert number_of(again) == 2
    again.save(state(5), 5)
    assert number_of(Checkpoints(tmp_path)) == 5


def test_two_damaged_checkpoints_are_said_to_be_lost(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (2, 3):
        checkpoints.save(state(number), number)
    for path in checkpoints.folder.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no intact checkpoint is left"):
        Checkpoints(tmp_path).load()


def test_every_changed_character_of_last_json_is_noticed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"counters": {"step": 3, "lr": 0.1}}, 3)
    path = checkpoints.folder / "last.json"
    text = path.read_text()
    for position, character in enumerate(text):
        if character.isspace():
            continue
        path.write_text(text[:position] + ("1" if character != "1" else "2") + text[position + 1 :])
        with pytest.raises(DataError, match=r"last\.json"):
            Checkpoints(tmp_path).load()


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)
    path = checkpoints.folder / "last.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(DataError, match="version 2 of the format, expected 1"):
        checkpoints.load()


def test_the_best_model_says_what_it_is(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(DataError, match="has not completed an epoch"):
        checkpoints.load_best()
    weights = {"w": chainrule.tensor([1.5])}
    checkpoints.save_best(BestModel(weights, epoch=2, step=9, monitor="valid.loss", value=0.25))
    best = Checkpoints(tmp_path).load_best()
    assert (best.epoch, best.step, best.monitor, best.value) == (2, 9, "valid.loss", 0.25)
    assert_equal(best.weights, weights)
    note = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert note == {"epoch": 2, "step": 9, "monitor": "valid.loss", "value": 0.25}
    save_weights(tmp_path / "checkpoints" / "best.safetensors", weights)
    with pytest.raises(DataError, match="not written as the best model"):
        checkpoints.load_best()
