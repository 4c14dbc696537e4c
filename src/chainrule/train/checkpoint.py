"""Checkpoints: everything that a training needs to go on, written whole or not at all.

Takes: the state of a training, or the weights of a model. Gives: files, and the same state back.
The one idea: tensors go into a file with a name of its own; the small file ``last.json``, which
names it with its sha256, is replaced last, by one rename. A crash at any moment leaves a
``last.json`` whose tensors are there. The one before is kept as ``previous.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.errors import DataError
from chainrule.core.files import read_bytes, read_json, write_atomic, write_json_atomic
from chainrule.data.state import State
from chainrule.graph.tensor import Tensor
from chainrule.train.packing import pack, unpack
from chainrule.train.tensor_file import Contents, decode, encode

__all__ = ["BestModel", "Checkpoints", "load_best", "load_weights", "save_weights"]

FORMAT = "chainrule.checkpoint"
VERSION = 1
LAST, PREVIOUS = "last.json", "previous.json"
BEST, BEST_NOTE = "best.safetensors", "best.json"
# Key of the metadata of best.safetensors: which model it is.
NOTE = "chainrule.best"


def save_weights(
    path: Path | str, state_dict: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name to a safetensors file, whole or not at all.

    Args:
        path: The file; one that exists is replaced.
        state_dict: As `nn.Module.state_dict` gives it.
        metadata: Texts to keep with them.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomic(Path(path), encode(state_dict, metadata))


def load_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, by name.

    Files of other programs can be read too; those written by `save_weights` are also checked
    against the digest they carry.

    Raises:
        DataError: The file is missing, truncated, damaged, or of another kind.
    """
    return _read_tensors(Path(path)).tensors


class BestModel:
    """The best model so far: its weights, and what made it the best.

    Attributes:
        weights: Tensors by name.
        epoch: The epoch at whose end it was found, from 1.
        step: Updates of the parameters until then.
        monitor: What was watched: ``valid.loss``.
        value: Its value.
    """

    def __init__(
        self, weights: dict[str, Tensor], *, epoch: int, step: int, monitor: str, value: float
    ) -> None:
        self.weights = weights
        self.epoch = epoch
        self.step = step
        self.monitor = monitor
        self.value = value

    def note(self) -> dict[str, Any]:
        """Return all but the weights, as JSON."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "monitor": self.monitor,
            "value": self.value,
        }


def load_best(run: Path | str) -> dict[str, Tensor]:
    """Return the weights of the best model of a run folder.

    Raises:
        DataError: There is none, or its file is damaged.
    """
    return Checkpoints(Path(run)).load_best().weights


class Checkpoints:
    """The folder ``checkpoints`` of a run.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / "checkpoints"
        # What last.json and previous.json hold, as far as this object wrote or read them.
        self._last: bytes | None = None
        self._files: list[str] = []

    def exist(self) -> bool:
        """Return whether a checkpoint has been completed here."""
        return any((self.folder / name).exists() for name in (LAST, PREVIOUS))

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Write a checkpoint.

        Args:
            state: What `pack` takes.
            step: Goes into the file's name.

        Raises:
            DataError: It cannot be written; the checkpoint before is untouched.
        """
        tensors: dict[str, Tensor] = {}
        packed = {key: pack(value, key, tensors) for key, value in state.items()}
        content = encode(tensors, sign=False)
        name = self._free_name(step)
        entry = {
            "format": FORMAT,
            "version": VERSION,
            "file": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "state": packed,
        }
        self._make_folder()
        write_atomic(self.folder / name, content)
        if self._last is not None:
            write_atomic(self.folder / PREVIOUS, self._last)
        write_json_atomic(self.folder / LAST, {**entry, "digest": _digest(entry)})
        self._last = read_bytes(self.folder / LAST)
        self._files = [*self._files[-1:], name]
        self._tidy()

    def load(self) -> dict[str, Any]:
        """Return the state of the last checkpoint.

        Raises:
            DataError: There is none, or it is damaged; if the one before it is intact, the hint
                says how to go on from that.
        """
        try:
            state, name = self._read(LAST)
        except DataError as error:
            error.hint = error.hint or self._remedy()
            raise
        self._last = read_bytes(self.folder / LAST)
        self._files = [name]
        with contextlib.suppress(DataError):
            self._files.insert(0, self._entry(PREVIOUS).text("file"))
        return state

    def save_best(self, best: BestModel) -> None:
        """Write ``best.safetensors``, and ``best.json`` for people to read."""
        note = best.note()
        self._make_folder()
        # The weights carry the note themselves, so that the two can never disagree.
        save_weights(self.folder / BEST, best.weights, {NOTE: json.dumps(note)})
        write_json_atomic(self.folder / BEST_NOTE, note)

    def load_best(self) -> BestModel:
        """Return the best model.

        Raises:
            DataError: There is none, or its file is damaged.
        """
        path = self.folder / BEST
        if not path.exists():
            raise DataError(
                f"{path}: no such file: this run has not completed an epoch",
                hint="go on training: fit(..., resume=True)",
            )
        contents = _read_tensors(path)
        try:
            value = json.loads(contents.metadata.get(NOTE, ""))
        except ValueError:
            raise DataError(f"{path}: was not written as the best model of a run") from None
        note = State(value, str(path), ("epoch", "step", "monitor", "value"))
        return BestModel(
            contents.tensors,
            epoch=note.integer("epoch", low=1),
            step=note.integer("step", low=0),
            monitor=note.text("monitor"),
            value=note.number("value"),
        )

    def _entry(self, name: str) -> State:
        path = self.folder / name
        found = read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{path}: is no checkpoint of a chainrule training")
        if found.get("version") != VERSION:
            raise DataError(
                f"{path}: is of version {found.get('version')!r} of the format, expected {VERSION}",
                hint="use the version of chainrule that wrote it (config.json names it)",
            )
        entry = {key: value for key, value in found.items() if key != "digest"}
        if found.get("digest") != _digest(entry):
            raise DataError(f"{path}: damaged: its contents differ from their digest")
        return State(entry, str(path), ("format", "version", "file", "sha256", "state"))

    def _read(self, name: str) -> tuple[dict[str, Any], str]:
        entry = self._entry(name)
        file = entry.text("file")
        path = self.folder / file
        if path.parent != self.folder:
            entry.fail("file", "a name in the same folder")
        content = read_bytes(path)
        if hashlib.sha256(content).hexdigest() != entry.text("sha256"):
            raise DataError(f"{path}: damaged: its contents differ from the sha256 in {name}")
        tensors = decode(content, str(path)).tensors
        state: dict[str, Any] = unpack(entry.raw("state"), tensors, entry.where)
        return state, file

    def _remedy(self) -> str:
        last, previous = self.folder / LAST, self.folder / PREVIOUS
        try:
            self._read(PREVIOUS)
        except DataError:
            return f"no intact checkpoint is left in {self.folder}: train anew in another folder"
        return f"the checkpoint before it is intact; go on from it: mv {previous} {last}"

    def _free_name(self, step: int) -> str:
        """Return a name that no checkpoint has: one of the same step may be the last good one."""
        names = (f"step-{step:08d}{suffix}.safetensors" for suffix in ("", "-1", "-2"))
        return next(name for name in names if name not in self._files)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be made: {error.strerror or error}") from error

    def _tidy(self) -> None:
        """Remove tensors that no checkpoint names, and what a crash left half-written."""
        for pattern in ("step-*.safetensors", ".*.part"):
            for path in self.folder.glob(pattern):
                if path.name not in self._files:
                    # It may be open elsewhere (Windows); the next checkpoint tries again.
                    with contextlib.suppress(OSError):
                        path.unlink()


def _read_tensors(path: Path) -> Contents:
    return decode(read_bytes(path), str(path))


def _digest(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
