"""The command line at work: trainings, what they say and leave, evaluation, prediction."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_help import Call, Result, caller, tree, write_models, write_table

from chainrule.cli import show
from chainrule.cli.main import main
from chainrule.cli.screen import columns_of, display_width, fill
from chainrule.train.checkpoint import Checkpoints

SOURCE = Path(__file__).parent.parent / "src"
# What two trainings of one seed must share to the last bit; the rest holds times.
WEIGHTS = "checkpoints/best.safetensors"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a run for each of its targets."""
    folder = tmp_path_factory.mktemp("home")
    table = write_table(folder / "houses.csv")
    base = ["train", str(table), "--epochs", "3"]
    assert main([*base, "--out", str(folder / "classes")]) == 0
    assert main([*base, "--target", "price", "--out", str(folder / "prices")]) == 0
    return folder


def python(*words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m chainrule`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


# --- words --------------------------------------------------------------------------------------


def test_help_names_every_command(call: Call) -> None:
    for words in ((), ("--help",)):
        result = call(*words)
        assert result.status == 0
        assert result.err == ""
        for name in ("train", "evaluate", "predict", "show", "explore", "chainrule train digits"):
            assert name in result.out


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "show", "explore"])
def test_help_of_a_command_fits_a_terminal(command: str, call: Call) -> None:
    result = call(command, "--help")
    assert result.status == 0
    assert result.out.startswith(f"usage: chainrule {command}")
    assert max(map(len, result.out.splitlines())) <= 80


def test_version_names_the_libraries(call: Call) -> None:
    result = call("--version")
    assert result.out.startswith("chainrule 0.")
    assert f"numpy {np.__version__}" in result.out


# --- train --------------------------------------------------------------------------------------


def test_train_says_and_records_everything(tmp_path: Path, call: Call) -> None:
    table, run = write_table(tmp_path / "houses.csv"), tmp_path / "run"
    result = call("train", table, "--epochs", "2", "--lr", "0.01", "--out", run)
    assert result.status == 0
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for note in config["notes"]:
        assert note in result.out
    origins = {row["name"]: (row["value"], row["origin"]) for row in config["settings"]}
    assert origins["epochs"] == (2, "given")
    assert origins["lr"] == (0.01, "given")
    assert origins["seed"] == (0, "default")
    assert origins["batch"][1] == "chosen"
    report = (run / "report.html").read_text(encoding="utf-8")
    for name in origins:
        assert f"  {name} " in result.out
        assert name in report
    assert config["versions"]["numpy"] == np.__version__
    assert config["data"]["spec"] == str(table)
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["split"] == "test"
    assert f"accuracy {evaluation['metrics']['accuracy']:.2%}" in result.out
    assert f"report: {run / 'report.html'}" in result.out


def test_train_shows_progress_on_stderr_alone(tmp_path: Path, call: Call) -> None:
    table = write_table(tmp_path / "houses.csv")
    result = call("train", table, "--epochs", "2", "--out", tmp_path / "run")
    assert "epoch 2/2" in result.err
    assert "epoch 2/2" not in result.out
    assert "settings" not in result.err


def test_settings_without_effect_are_not_shown(tmp_path: Path, call: Call) -> None:
    run = tmp_path / "run"
    result = call("train", "digits", "--epochs", "1", "--out", run)
    assert result.status == 0
    assert "hidden" not in result.out
    assert "hidden" not in (run / "config.json").read_text()
    assert re.search(r"patience +none", result.out)


def test_default_folder_is_the_next_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "my houses.csv")
    for _ in range(2):
        assert call("train", "my houses.csv", "--epochs", "1").status == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["my-houses-1", "my-houses-2"]


def test_same_seed_gives_the_same_weights(tmp_path: Path, call: Call) -> None:
    table = write_table(tmp_path / "houses.csv")
    weights = []
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        result = call("train", table, "--epochs", "2", "--seed", seed, "--out", tmp_path / name)
        assert result.status == 0
        weights.append((tmp_path / name / WEIGHTS).read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_train_takes_arrays(tmp_path: Path, call: Call) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    np.savez(tmp_path / "data.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    result = call("train", tmp_path / "data.npz", "--epochs", "2", "--out", tmp_path / "run")
    assert result.status == 0
    assert "accuracy" in result.out


def test_train_takes_a_folder_of_images(tmp_path: Path, call: Call) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra 'full' is not installed")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(15):
            pixels = rng.integers(low, low + 100, (12, 12, 3)).astype(np.uint8)
            image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    run = tmp_path / "run"
    assert call("train", tmp_path / "photos", "--epochs", "3", "--out", run).status == 0
    result = call("predict", run, tmp_path / "photos" / "light" / "3.png")
    rows = list(csv.reader(io.StringIO(result.out)))
    assert rows[0] == ["example", "class", "probability", "p(dark)", "p(light)"]
    assert rows[1][0] == "3.png"


@pytest.mark.parametrize("name", ["Good", "Bare", "ByName"])
def test_train_takes_a_class_of_the_users(name: str, tmp_path: Path, call: Call) -> None:
    table, nets = write_table(tmp_path / "houses.csv"), write_models(tmp_path)
    words = ("train", table, "--target", "class", "--epochs", "1", "--out", tmp_path / "run")
    # area, age, price and three cities are six features; the classes here know of five.
    data = table.read_text(encoding="utf-8").splitlines()
    kept = [",".join(line.split(",")[k] for k in (0, 1, 2, 4)) for line in data]
    table.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert call(*words, "--model", f"{nets}:{name}").status == 0
    assert call("evaluate", tmp_path / "run").status == 0


# --- resume -------------------------------------------------------------------------------------


def straight(folder: Path, table: Path, call: Call) -> bytes:
    """Return the best weights of a training that nobody disturbed."""
    assert call("train", table, "--epochs", "4", "--out", folder / "straight").status == 0
    return (folder / "straight" / WEIGHTS).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C")
def test_resume_after_a_stop_gives_the_same_bits(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "houses.csv")
    expected = straight(tmp_path, table, call)
    run = tmp_path / "my run"
    save = Checkpoints.save

    def stop_in_the_third(self: Checkpoints, state: dict[str, object], step: int) -> None:
        save(self, state, step)
        if step >= 4:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", stop_in_the_third)
        result = call("train", table, "--epochs", "4", "--out", run)
    assert result.status == 130
    assert f"go on with: chainrule train --out '{run}' --resume" in result.err
    assert not (run / "report.html").exists()
    result = call("train", "--out", run, "--resume")
    assert result.status == 0
    assert "going on after epoch" in result.err
    assert (run / WEIGHTS).read_bytes() == expected
    assert (run / "report.html").exists()


def test_resume_from_another_folder(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "houses.csv")
    monkeypatch.chdir(tmp_path)
    assert call("train", "houses.csv", "--epochs", "1", "--out", "run").status == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call("evaluate", "../run").status == 0
    assert call("train", "--out", "../run", "--resume").status == 0


def test_resume_of_a_complete_run_writes_what_is_missing(home: Path, call: Call) -> None:
    run = home / "classes"
    before = tree(run)
    (run / "report.html").unlink()
    (run / "evaluation.json").unlink()
    result = call("train", "--out", run, "--resume")
    assert result.status == 0
    assert "is complete" in result.out
    assert "epoch" not in result.err
    after = tree(run)
    assert after.keys() == before.keys()
    assert after["evaluation.json"] == before["evaluation.json"]
    assert after["metrics.jsonl"] == before["metrics.jsonl"]


def test_resume_of_a_run_that_patience_ended(tmp_path: Path, call: Call) -> None:
    table, run = write_table(tmp_path / "houses.csv"), tmp_path / "run"
    words = ("--epochs", "50", "--patience", "1", "--lr", "0.5", "--out", run)
    assert "stopped early" in call("train", table, *words).err
    result = call("train", "--out", run, "--resume")
    assert result.status == 0
    assert "is complete" in result.out


def test_resume_of_a_run_killed_before_its_first_checkpoint(tmp_path: Path, call: Call) -> None:
    table = write_table(tmp_path / "houses.csv")
    expected = straight(tmp_path, table, call)
    run = tmp_path / "straight"
    for path in (*(run / "checkpoints").iterdir(), run / "metrics.jsonl", run / "pipeline.json"):
        path.unlink()
    assert call("train", "--out", run, "--resume").status == 0
    assert (run / WEIGHTS).read_bytes() == expected


def test_resume_finds_data_that_have_moved(tmp_path: Path, call: Call) -> None:
    table, run = write_table(tmp_path / "houses.csv"), tmp_path / "run"
    assert call("train", table, "--epochs", "1", "--out", run).status == 0
    table.rename(tmp_path / "moved.csv")
    result = call("evaluate", run)
    assert result.status == 2
    assert "where the data of the run were" in result.err
    assert call("train", tmp_path / "moved.csv", "--out", run, "--resume").status == 0
    assert call("evaluate", run).status == 0


# --- evaluate, predict, show --------------------------------------------------------------------


def test_evaluate_repeats_the_results_of_the_training(home: Path, call: Call) -> None:
    before = tree(home / "classes")
    result = call("evaluate", home / "classes")
    assert result.status == 0
    evaluation = json.loads(before["evaluation.json"])
    assert result.out.startswith(f"test: accuracy {evaluation['metrics']['accuracy']:.2%}")
    assert tree(home / "classes") == before


def test_evaluate_warns_of_data_seen_in_training(home: Path, call: Call) -> None:
    result = call("evaluate", home / "classes", home / "houses.csv")
    assert "training saw a part" in result.out
    assert "(80 examples)" in result.out


def test_evaluate_of_values_shows_no_loss_of_z_scores(home: Path, call: Call) -> None:
    result = call("evaluate", home / "prices")
    assert result.out.startswith("test: R² ")
    assert "loss" not in result.out
    assert len(result.out.splitlines()) == 1


def test_predict_writes_answers_in_the_users_unit(home: Path, call: Call, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("age,class,city,area\n1,낮음,Jeju,80\n30,높음,서울,200\n", encoding="utf-8")
    result = call("predict", home / "prices", new, "--out", tmp_path / "answers.csv")
    assert result.status == 0
    assert "2 predictions" in result.out
    rows = list(csv.reader(io.StringIO((tmp_path / "answers.csv").read_text(encoding="utf-8"))))
    assert rows[0] == ["example", "price"]
    assert [row[0] for row in rows[1:]] == ["line 2", "line 3"]
    assert all(50 < float(row[1]) < 700 for row in rows[1:])


def test_predict_to_the_screen_is_nothing_but_a_table(home: Path, call: Call) -> None:
    result = call("predict", home / "classes", home / "houses.csv")
    rows = list(csv.reader(io.StringIO(result.out)))
    assert rows[0] == ["example", "class", "probability", "p(낮음)", "p(높음)"]
    assert len(rows) == 81
    assert result.err == ""
    for row in rows[1:]:
        p = [float(value) for value in row[2:]]
        assert p[1] + p[2] == pytest.approx(1, abs=2e-6)
        assert p[0] == max(p[1:])


def test_predict_replaces_no_file_unasked(home: Path, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    out.write_text("mine")
    words = ("predict", home / "prices", home / "houses.csv", "--out")
    result = call(*words, out)
    assert result.status == 2
    assert "--overwrite" in result.err
    assert out.read_text() == "mine"
    assert call(*words, out, "--overwrite").status == 0
    assert out.read_text().startswith("example,price\n")
    data = (home / "houses.csv").read_bytes()
    assert call(*words, home / "houses.csv", "--overwrite").status == 2
    assert (home / "houses.csv").read_bytes() == data


class Browser:
    """Stands for a browser with windows."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, address: str) -> bool:
        self.opened.append(address)
        return True


def test_show_opens_a_browser(home: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser()
    monkeypatch.setattr(show.webbrowser, "get", lambda: browser)
    result = call("show", home / "classes")
    report = (home / "classes" / "report.html").resolve()
    assert result == Result(0, f"{report}\n", "")
    assert browser.opened == [report.as_uri()]


def test_show_leaves_browsers_in_the_terminal_alone(
    home: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_browser = show.webbrowser.GenericBrowser(sys.executable)
    monkeypatch.setattr(text_browser, "open", lambda _: pytest.fail("would wait for keys"))
    monkeypatch.setattr(show.webbrowser, "get", lambda: text_browser)
    assert call("show", home / "classes").status == 0


def test_show_without_a_browser_prints_the_path(
    home: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise show.webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(show.webbrowser, "get", none)
    assert call("show", home / "classes").status == 0


# --- the screen ---------------------------------------------------------------------------------


def test_wide_characters_are_aligned_and_wrapped() -> None:
    lines = columns_of([("이름", "1"), ("class", "22"), ("e\u0301", "3")], right=[1])
    assert {display_width(line) for line in lines} == {9}
    text = "열 이름이 아주 긴 표의 설명: " + "가" * 60
    for line in fill(text, 40).splitlines():
        assert display_width(line) <= 40
    assert "".join(fill(text, 40).split()) == "".join(text.split())


def test_output_survives_a_stream_that_knows_ascii_alone(home: Path) -> None:
    for words in (("evaluate", "prices"), ("predict", "classes", "houses.csv")):
        process = python(*words, cwd=home, PYTHONIOENCODING="ascii", LC_ALL="C")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.isascii()
        assert err == ""
    assert "\\ub0ae" in out


def test_output_to_a_reader_that_leaves(home: Path) -> None:
    process = python("predict", "classes", "houses.csv", cwd=home)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_to_a_full_disk_is_an_error(home: Path) -> None:
    command = [sys.executable, "-m", "chainrule", "evaluate", "classes"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "chainrule: output: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_ctrl_c_in_the_process_group_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_table(tmp_path / "houses.csv", n=2000)
    words = ("train", "houses.csv", "--epochs", "5000", "--patience", "5000", "--out", "run")
    process = python(*words, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 130
    assert "go on with: chainrule train --out run --resume" in err
    assert "Traceback" not in out + err
    assert Checkpoints(tmp_path / "run").load()
