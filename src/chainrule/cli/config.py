"""Configuration of a run: what config.json holds.

Takes: data, settings, a model, versions. Gives: a file that says all of it, and the same back.
The one idea: the file carries its own digest and that of the fitted preprocessing, so that a
damaged run is refused and never answers wrongly in silence.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.cli.settings import Settings
from chainrule.core.errors import DataError
from chainrule.core.files import read_json, write_json_atomic
from chainrule.data import NAMED_SETS, Task

__all__ = ["DataWords", "ModelWords", "RunConfig", "digest", "fingerprint"]

FORMAT = "chainrule.run"
VERSION = 1


@dataclass(frozen=True)
class DataWords:
    """The words by which data are opened.

    Attributes:
        spec: A named set, or a path.
        target: Column to predict; None: chosen.
        kind: What to learn; None: inferred.
    """

    spec: str
    target: str | None
    kind: str | None

    def absolute(self) -> DataWords:
        """Return words that mean the same data in every folder."""
        if self.spec in NAMED_SETS:
            return self
        return replace(self, spec=os.path.abspath(os.path.expanduser(self.spec)))


@dataclass(frozen=True)
class ModelWords:
    """Which model: a name, or ``file.py:Class`` with the sha256 of the file."""

    spec: str
    sha256: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """What config.json holds.

    Attributes:
        data: The words by which the data were opened, paths absolute.
        settings: All settings.
        model: Which model.
        fingerprint: Digest of the prepared data, so that a run is not continued on other data.
        pipeline: Digest of the fitted preprocessing.
        notes: What was chosen and inferred.
        versions: chainrule, Python and libraries.
    """

    data: DataWords
    settings: Settings
    model: ModelWords
    fingerprint: str
    pipeline: str
    notes: tuple[str, ...]
    versions: dict[str, str]

    def write(self, path: Path) -> None:
        """Write config.json, whole or not at all.

        Raises:
            DataError: It cannot be written.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "data": vars(self.data),
            "settings": self.settings.to_json(),
            "model": vars(self.model),
            "fingerprint": self.fingerprint,
            "pipeline": self.pipeline,
            "notes": list(self.notes),
            "versions": self.versions,
        }
        write_json_atomic(path, {**content, "digest": digest(content)})

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read config.json.

        Raises:
            DataError: It is damaged, was changed, or belongs to something else.
        """
        found = read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{path}: is not the configuration of a chainrule run")
        if found.get("version") != VERSION:
            raise DataError(
                f"{path}: was written in version {found.get('version')!r} of the format, "
                f"expected {VERSION}",
                hint="use the version of chainrule named under 'versions' in it",
            )
        said = found.pop("digest", None)
        if said != digest(found):
            raise DataError(
                f"{path}: damaged or changed: its contents differ from their digest",
                hint="restore the file, or train anew in another folder with other options",
            )
        try:
            return cls(
                data=DataWords(**_texts(found["data"], ("spec", "target", "kind"))),
                settings=Settings.from_json(found["settings"], str(path)),
                model=ModelWords(**_texts(found["model"], ("spec", "sha256"))),
                fingerprint=str(found["fingerprint"]),
                pipeline=str(found["pipeline"]),
                notes=tuple(str(note) for note in found["notes"]),
                versions={str(k): str(v) for k, v in found["versions"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: damaged: {error}") from None


def digest(content: object) -> str:
    """Return the sha256 of what a JSON file holds, however it is laid out."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(task: Task) -> str:
    """Return a digest of the prepared data: the same numbers in the same parts."""
    numbers = hashlib.sha256()
    for part in (task.train, task.valid, task.test):
        for array in (part.inputs, part.targets):
            numbers.update(f"{array.dtype}{array.shape}".encode())
            numbers.update(np.ascontiguousarray(array).data)
    return numbers.hexdigest()


def _texts(value: Any, keys: tuple[str, str] | tuple[str, str, str]) -> dict[str, Any]:
    """Return texts by name; the first one must be there."""
    for key in keys:
        if not isinstance(value[key], str if key == keys[0] else str | None):
            raise TypeError(f"{key} is not text")
    return {key: value[key] for key in keys}
