"""The command line when something is wrong: the text, exit status 2, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_help import Call, caller, tree, write_models, write_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.cli.config import digest
from chainrule.cli.main import main
from chainrule.core.errors import ArgumentError

WEIGHTS = "checkpoints/best.safetensors"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_table(tmp_path / "houses.csv")


# --- what was typed -----------------------------------------------------------------------------

TYPED = (
    ("trian digits", "unknown command: 'trian'", "did you mean 'train'?"),
    ("digits", "unknown command: 'digits'", "chainrule train digits"),
    ("frob", "unknown command: 'frob'", "commands: train, evaluate, predict, show"),
    ("--vesion", "unknown option: '--vesion'", "did you mean '--version'?"),
    ("--epochs 3 train digits", "--epochs stands before the command", "train ... --epochs"),
    ("train", "train: which data?", "chainrule train digits"),
    ("train digit", "unknown data set: 'digit'", "did you mean 'digits'?"),
    ("train housse.csv", "housse.csv: no such file", "did you mean 'houses.csv'?"),
    ("train digits more", "one word too many: 'more'", "train --help"),
    ("train digits --epoch 3", "train unknown option: '--epoch'", "did you mean '--epochs'?"),
    ("train digits --epochs", "train --epochs: expected one argument", "train --help"),
    ("train digits --epochs many", "train --epochs: 'many' is not a whole number", "--help"),
    ("train digits --epochs 0", "train --epochs: '0' is not at least 1", "--help"),
    ("train digits --epochs 9999999999", "more than 1,000,000,000", "--help"),
    ("train digits --batch -4", "train --batch: '-4' is not at least 1", "--help"),
    ("train digits --lr nan", "train --lr: 'nan' is not a positive number", "--help"),
    ("train digits --lr fast", "train --lr: 'fast' is not a positive number", "--help"),
    ("train digits --seed -1", "'-1' is not between 0 and", "--help"),
    ("train digits --hidden 10,", "train --hidden: '' is not a whole number", "--help"),
    ("train digits --hidden 10", "the model cnn has no such setting", "--model mlp --hidden 10"),
    ("train digits --model simple-convnet --hidden 9,8", "one hidden layer", "--hidden 9"),
    ("train digits --model cnnn", "unknown model: 'cnnn'", "did you mean 'cnn'?"),
    ("train digits --model net.py", "which class in net.py?", "--model net.py:Net"),
    ("train digits --model net.py:Net", "net.py: no such file", ""),
    ("train digits --kind class", "did you mean 'classification'?", "--help"),
    ("train digits --target label", "no column 'label'", "leave the target out"),
    ("train houses.csv --target prise", "no column is named 'prise'", "did you mean 'price'?"),
    ("train houses.csv --model cnn", "input_shape (6,) is not (channels", "use MLP"),
    ("train --resume", "train --resume: which run?", "--out RUN --resume"),
    ("train --resume --out runs/a", "runs/a: no such run folder", "chainrule train digits"),
    ("evaluate", "evaluate: missing RUN", "evaluate --help"),
    ("evaluate runs/a", "runs/a: no such run folder", "chainrule train digits"),
    ("evaluate .", ".: is not a run folder", "start one"),
    ("predict runs/a", "predict: missing DATA", "predict --help"),
    ("predict runs/a houses.csv --output b.csv", "'--output'", "did you mean '--out'?"),
    ("show houses.csv", "houses.csv: is not a run folder", "start one"),
)


@pytest.mark.parametrize(("words", "message", "hint"), TYPED, ids=[row[0] for row in TYPED])
def test_mistyped_command(words: str, message: str, hint: str, table: Path, call: Call) -> None:
    result = call(*words.split())
    assert result.status == 2
    assert result.out == ""
    first, *rest = result.err.splitlines()
    assert first.startswith("chainrule: ")
    assert message in first
    assert hint in "\n".join(rest)
    assert list(tree(table.parent)) == ["houses.csv"]


def test_debug_shows_the_traceback(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError):
        main(["train", "digit", "--debug"])
    monkeypatch.setenv("CHAINRULE_DEBUG", "1")
    with pytest.raises(ArgumentError):
        main(["train", "digit"])


def test_errors_show_no_control_characters(table: Path, call: Call) -> None:
    result = call("train", "a\x1b[31m.csv")
    assert result.status == 2
    assert "\x1b" not in result.err


# --- the run folder -----------------------------------------------------------------------------


def test_an_existing_run_is_not_touched(table: Path, call: Call) -> None:
    assert call("train", table, "--epochs", "1", "--out", "my run").status == 0
    before = tree(table.parent)
    result = call("train", table, "--epochs", "2", "--out", "my run")
    assert result.status == 2
    assert "my run: a run is there already" in result.err
    assert "chainrule train --out 'my run' --resume" in result.err
    assert tree(table.parent) == before


@pytest.mark.parametrize("out", ["houses.csv", ".", "houses.csv/run"])
def test_a_folder_that_cannot_be_used(out: str, table: Path, call: Call) -> None:
    before = tree(table.parent)
    result = call("train", table, "--epochs", "1", "--out", out)
    assert result.status == 2
    assert result.err.startswith(f"chainrule: {out}: ")
    assert "--out" in result.err
    assert tree(table.parent) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_permission(table: Path, call: Call) -> None:
    (table.parent / "closed").mkdir(mode=0o500)
    result = call("train", table, "--epochs", "1", "--out", "closed/run")
    assert result.status == 2
    assert "closed/run: cannot be made: Permission denied" in result.err


CHANGES = (
    ("--epochs 9", "--epochs is 9, but the run began with 1"),
    ("--lr 0.5", "--lr is 0.5, but the run began with 0.00"),
    ("--hidden 3,4", "--hidden is 3,4, but the run began with "),
    ("--model cnn", "--model is cnn, but the run began with mlp"),
    ("--target price", "--target is price, but the run began with none"),
    ("--kind regression", "--kind is regression, but the run began with none"),
    ("other.csv", "other.csv: these are not the data that run began with"),
)


@pytest.mark.parametrize(("words", "message"), CHANGES, ids=[row[0] for row in CHANGES])
def test_resume_refuses_changes(words: str, message: str, table: Path, call: Call) -> None:
    write_table(table.parent / "other.csv", n=81)
    assert call("train", table, "--epochs", "1", "--out", "run").status == 0
    before = tree(table.parent)
    result = call("train", "--resume", "--out", "run", *words.split())
    assert result.status == 2
    assert message in result.err
    assert "in another folder" in result.err
    assert tree(table.parent) == before


def test_resume_refuses_a_model_file_that_has_changed(tmp_path: Path, call: Call) -> None:
    rows = "\n".join(f"{k},{k % 7},{k % 2}" for k in range(60))
    (tmp_path / "data.csv").write_text(f"a,b,kind\n{rows}\n")
    nets = write_models(tmp_path)
    words = ("--kind", "classification", "--model", f"{nets}:Good", "--epochs", "1")
    assert call("train", tmp_path / "data.csv", *words, "--out", tmp_path / "run").status == 0
    nets.write_text(nets.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    for command in (("train", "--resume", "--out"), ("evaluate",)):
        result = call(*command, tmp_path / "run")
        assert result.status == 2
        assert "nets.py: has changed since this run began" in result.err


# --- a model of the user's ----------------------------------------------------------------------

MODELS = (
    ("Narrow", "forward gave f32[2,1] for 2 examples of shape [5], expected [2, 2]"),
    ("FailsToBuild", "nets.py, line 31: ZeroDivisionError: division by zero"),
    ("FailsToRun", "nets.py, line 36: AttributeError: 'Tensor' object has no attribute"),
    ("FailsInTraining", "nets.py, line 42: RuntimeError: not today"),
    ("WrongWidth", "model.layer (Linear 3 -> 2), called at nets.py:10"),
    ("Flat", "forward gave f32[2]"),
    ("Detached", "depends on no parameter"),
    ("GivesList", "forward gave list, expected a tensor [2, 2]"),
    ("Infinite", "look for a division by zero"),
    ("Three", "takes (a, b, c), expected (input_shape, n_outputs) or no arguments"),
    ("NoModule", "gave NoModule, expected an nn.Module"),
    ("Godo", "did you mean 'Good'?"),
)


@pytest.fixture
def five(table: Path) -> Path:
    """The table without its price: five features and two classes."""
    lines = table.read_text(encoding="utf-8").splitlines()
    kept = [",".join(line.split(",")[k] for k in (0, 1, 2, 4)) for line in lines]
    table.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return table


@pytest.mark.parametrize(("name", "message"), MODELS, ids=[row[0] for row in MODELS])
def test_a_faulty_model_is_said_with_its_line(
    name: str, message: str, five: Path, call: Call
) -> None:
    nets = write_models(five.parent)
    result = call("train", five, "--epochs", "1", "--model", f"{nets.name}:{name}")
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (five.parent / "runs").exists()


FILES = (
    ("import os\n\nclass A(\n", "bad.py, line 3: SyntaxError"),
    ("import nothing_of_that_name\n", "bad.py, line 1: ModuleNotFoundError"),
    ("\x00\x01", "bad.py"),
    ("import sys\nsys.exit(3)\n", "bad.py, line 2: SystemExit: 3"),
    ("def f():\n    return f()\nf()\n", "bad.py, line 2: RecursionError"),
)


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_faulty_file_is_said_with_its_line(
    text: str, message: str, five: Path, call: Call
) -> None:
    (five.parent / "bad.py").write_text(text)
    result = call("train", five, "--model", "bad.py:A")
    assert result.status == 2
    assert message in result.err


# --- a full disk --------------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_or_a_run_that_goes_on(
    table: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", table, "--epochs", "2", "--out")
    assert call(*words, "straight").status == 0
    expected = (table.parent / "straight" / WEIGHTS).read_bytes()
    sync, calls, limit = os.fsync, 0, 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if limit and calls >= limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    kept, run = 0, table.parent / "deep" / "run"
    for limit in range(1, 200):
        calls = 0
        result = call(*words, run)
        calls, full_at, limit = 0, limit, 0
        if result.status == 0:
            break
        assert result.status == 2, full_at
        assert "No space left" in result.err or "disk is full" in result.err
        assert not list(table.parent.rglob("*.part"))
        if not run.exists():
            assert not run.parent.exists(), "folders made for it are taken away too"
            continue
        kept += 1
        assert f"chainrule train --out {run} --resume" in result.err
        assert call("train", "--out", run, "--resume").status == 0
        assert (run / WEIGHTS).read_bytes() == expected
        shutil.rmtree(run.parent)
    assert kept > 5
    assert result.status == 0


# --- damaged run folders ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that the tests below damage, and its data."""
    folder = tmp_path_factory.mktemp("damaged")
    data = write_table(folder / "houses.csv", n=40)
    words = ["--epochs", "1", "--hidden", "4", "--out", str(folder / "run")]
    assert main(["train", str(data), *words]) == 0
    return folder


@st.composite
def damages(draw: st.DrawFn, size: int) -> tuple[int, int, bytes]:
    """Return a slice of a file and what comes in its place."""
    start = draw(st.integers(0, size - 1))
    length = draw(st.sampled_from([0, 1, 1, 1, 3, size]))
    return start, start + length, draw(st.binary(max_size=4))


COMMON = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def commands(folder: Path) -> list[list[str]]:
    run, data = str(folder / "run"), str(folder / "houses.csv")
    return [
        ["evaluate", run],
        ["predict", run, data],
        ["train", "--out", run, "--resume"],
    ]


def check_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> set[int]:
    """Run every command; none may fail in another way than by saying what is wrong."""
    statuses = set()
    for words in commands(folder):
        status = main(words)
        err = capsys.readouterr().err
        assert status in (0, 2)
        if status:
            assert err.startswith("chainrule: ")
        statuses.add(status)
    return statuses


NAMES = (
    "config.json",
    "pipeline.json",
    "metrics.jsonl",
    "checkpoints/best.safetensors",
    "checkpoints/last.json",
)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@COMMON
def test_damaged_bytes(
    name: str, data: st.DataObject, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged / "run" / name
    whole = path.read_bytes()
    start, end, new = data.draw(damages(len(whole)))
    before = tree(damaged)
    try:
        path.write_bytes(whole[:start] + new + whole[end:])
        check_all(damaged, capsys)
    finally:
        for relative, content in before.items():
            (damaged / relative).write_bytes(content)


@pytest.mark.parametrize("name", ["config.json", "pipeline.json", "checkpoints/best.safetensors"])
def test_a_missing_or_empty_file_is_named(
    name: str, damaged: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged / "run" / name
    whole = path.read_bytes()
    try:
        path.write_bytes(b"")
        result = call("evaluate", damaged / "run")
        assert result.status == 2
        assert str(path) in result.err
        path.unlink()
        result = call("evaluate", damaged / "run")
        assert result.status == 2
        assert name.split("/")[-1] in result.err
    finally:
        path.write_bytes(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a JSON value with each of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@pytest.mark.parametrize("name", ["config.json", "pipeline.json"])
@given(data=st.data())
@settings(COMMON, max_examples=60)
def test_damaged_values_behind_a_right_digest(
    name: str, data: st.DataObject, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(damaged)
    config = json.loads(before["run/config.json"])
    del config["digest"]
    pipeline = json.loads(before["run/pipeline.json"])
    content = config if name == "config.json" else pipeline
    spots = list(places(content))
    container, key = spots[data.draw(st.integers(0, len(spots) - 1))]
    container[key] = data.draw(JSON)
    if name == "pipeline.json":
        config["pipeline"] = digest(pipeline)
        (damaged / "run/pipeline.json").write_text(json.dumps(pipeline))
    try:
        whole = {**config, "digest": digest(config)}
        (damaged / "run/config.json").write_text(json.dumps(whole))
        check_all(damaged, capsys)
    finally:
        for relative, file in before.items():
            (damaged / relative).write_bytes(file)
