"""`chainrule explore`: files whole or not at all, refusals before any work, words on the screen."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cli_help import Call, caller
from report_samples import checked_svg

from chainrule.cli import explore as command
from chainrule.explore import EXPLORATIONS

FAST = "softmax-temperature"
DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    pytest.importorskip("jinja2", reason="the extra 'full' is not installed")
    monkeypatch.chdir(tmp_path)
    return caller(capsys)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail if an experiment is run."""
    monkeypatch.setattr(command, "explore", lambda *_, **__: pytest.fail("the experiment ran"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_without_a_name_all_are_listed(call: Call, tmp_path: Path) -> None:
    result = call("explore")
    assert result.status == 0
    for name in EXPLORATIONS:
        assert f"  {name} " in result.out
    assert names(tmp_path) == []


def test_numbers_come_to_the_screen_and_files_into_the_folder(call: Call, tmp_path: Path) -> None:
    result = call("explore", FAST)
    assert result.status == 0
    assert re.search(r"temperature +cat +dog", result.out)
    assert re.search(r"\n  1 +0\.6364 +0\.2341", result.out)
    assert f"wrote explorations/{FAST}.html" in result.out
    assert names(tmp_path) == ["explorations", f"{FAST}.html", f"{FAST}.svg"]
    checked_svg((tmp_path / "explorations" / f"{FAST}.svg").read_text(encoding="utf-8"))
    assert call("explore", FAST).status == 0  # its own folder is written anew


@pytest.mark.parametrize("kind", [".html", ".svg", ".png"])
def test_a_file_name_decides_what_is_written(kind: str, call: Call, tmp_path: Path) -> None:
    if kind == ".png":
        pytest.importorskip("resvg_py", reason="the extra 'pictures' is not installed")
    result = call("explore", FAST, "--out", f"sub/picture{kind}")
    assert result.status == 0
    assert names(tmp_path) == [f"picture{kind}", "sub"]
    raw = (tmp_path / "sub" / f"picture{kind}").read_bytes()
    assert raw.startswith({".html": b"<!doctype", ".svg": b"<svg", ".png": b"\x89PNG"}[kind])


def test_png_shows_the_drawing_in_light_colours(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra 'pictures' is not installed")
    image = pytest.importorskip("PIL.Image", reason="the extra 'full' is not installed")
    assert call("explore", FAST, "--out", "x.png").status == 0
    picture = image.open(tmp_path / "x.png").convert("RGB")
    assert picture.getpixel((0, 0)) == (0xFF, 0xFF, 0xFF)  # --card
    colours = {colour for _, colour in picture.getcolors(10**6)}
    assert (0x00, 0x69, 0xA8) in colours  # --train, of the bars
    assert picture.width == 2000


def test_seed_and_parameters_reach_the_experiment(call: Call, tmp_path: Path) -> None:
    words = ("--seed", "7", "--set", "samples=16", "--set", "layers=2")
    assert call("explore", "initialization", *words, "--out", "p.html").status == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "--seed 7 --set samples=16 --set width=100 --set layers=2" in page


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["dead-rely"], "did you mean 'dead-relu'"),
        (["momentum", "--set", "steps"], "expected NAME=VALUE"),
        (["momentum", "--set", "steps=many"], "'many' is not a whole number"),
        (["momentum", "--set", "stepps=4"], "did you mean 'steps'"),
        (["momentum", "--set", "lr=fast"], "'fast' is not a number"),
        (["momentum", "--seed", "1"], "--seed has no effect"),
        (["momentum", "--out", "taken/x"], "hint: choose another folder with --out"),
        (["momentum", "--out", "there.svg"], "there.svg: exists already"),
        (["momentum", "--out", "folder.svg", "--overwrite"], "folder.svg: is a folder"),
        (["momentum", "--ot", "x"], "did you mean '--out'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_experiment(
    words: list[str], complaint: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "there.svg").write_text("mine")
    (tmp_path / "folder.svg").mkdir()
    before = names(tmp_path)
    result = call("explore", *words)
    assert result.status == 2
    assert complaint in result.err
    assert names(tmp_path) == before
    assert (tmp_path / "there.svg").read_text() == "mine"


@pytest.mark.usefixtures("forbidden")
def test_folder_without_permission_is_refused_first(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(command.tempfile, "TemporaryFile", refuse)
    result = call("explore", FAST, "--out", "made/now")
    assert result.status == 2
    assert "made/now: cannot be written to: Permission denied" in result.err
    assert names(tmp_path) == []


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    ("library", "words", "extra"),
    [("resvg_py", ["--png"], "pictures"), ("jinja2", [], "full")],
)
def test_missing_library_names_its_extra(
    library: str, words: list[str], extra: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    result = call("explore", FAST, *words)
    assert result.status == 2
    assert f'pip install "chainrule[{extra}]"' in result.err


def test_ctrl_c_in_the_experiment_leaves_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "explore", interrupted)
    assert call("explore", FAST).status == 130
    assert names(tmp_path) == []


def test_ctrl_c_between_two_files_leaves_nothing_new(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = command.write_atomic

    def interrupted(path: Path, content: bytes) -> None:
        if path.suffix == ".svg":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(command, "write_atomic", interrupted)
    assert call("explore", FAST).status == 130
    assert names(tmp_path) == []


def test_nothing_is_opened_unasked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command, "open_page", opened.append)
    assert call("explore", FAST).status == 0
    assert opened == []
    assert call("explore", FAST, "--open").status == 0
    assert len(opened) == 1
    assert opened[0].startswith("file://")


def test_docs_show_every_exploration_with_a_small_picture() -> None:
    page = (DOCS / "explorations.md").read_text(encoding="utf-8")
    folder = DOCS / "pictures" / "explore"
    assert names(folder) == sorted(f"{name}.svg" for name in EXPLORATIONS)
    for name, exploration in EXPLORATIONS.items():
        path = folder / f"{name}.svg"
        checked_svg(path.read_text(encoding="utf-8"))
        assert path.stat().st_size < 60_000
        assert f"](pictures/explore/{name}.svg)" in page
        assert f"chainrule explore {name}" in page
        assert exploration.title.en in page
        assert exploration.title.ko in page
