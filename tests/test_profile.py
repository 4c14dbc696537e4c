"""Profiles: counted work against a hand count, tables and timelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chainrule
from chainrule import nn
from chainrule.cli.main import main
from chainrule.core.dtype import float32
from chainrule.ir.definition import axes_of
from chainrule.ir.expr import Acc, Buffer, Index, Load, Read, call, flat
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Store
from chainrule.ir.work import flops, moved


def test_work_of_a_row_sum_is_one_addition_an_element() -> None:
    i, j = axes_of((3, 5))
    x, y = Buffer("x", float32, 15), Buffer("y", float32, 3)
    acc = Acc("acc", "add", float32)
    element = Load(x, (flat((Index(((i, 1),)), Index(((j, 1),))), (5, 1)),))
    body = (
        Declare(acc),
        Loop(j, (Accumulate(acc, call("multiply", element, element)),), vector=True),
        Store(y, Index(((i, 1),)), Read(acc)),
    )
    kernel = Kernel("squares", (x, y), (i,), 1, body, written=frozenset([y]))
    assert flops(kernel) == 3 * 5 * 2
    assert moved(kernel) == 4 * (15 + 3)


def test_work_of_a_contraction_is_two_operations_a_product() -> None:
    f = chainrule.compile(lambda x, y: x @ y)
    plan = f.trace(chainrule.ones(64, 48), chainrule.ones(48, 32)).lower().plan
    kernels = [step.kernel for step in plan.steps if isinstance(step.kernel, Contraction)]
    assert [flops(kernel) for kernel in kernels] == [2 * 64 * 48 * 32]


def test_profile_names_layers_lines_and_rates(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8))
    step = chainrule.compile(lambda x: model(x).sum())
    p = chainrule.profile(step, chainrule.ones(64, 256), calls=4)
    assert p.calls == 4
    assert all(row.seconds > 0 and row.calls == 4 for row in p.rows)
    text = str(p)
    assert "Linear 256 -> 256" in text
    assert "test_profile.py" in text
    assert "GFLOP/s" in text
    p.save(tmp_path / "timeline.json")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert {e["ph"] for e in events} == {"X"}
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in events)
    assert {e["name"] for e in events} == {row.name for row in p.rows}


def test_work_of_a_loop_is_that_of_every_round() -> None:
    w = chainrule.ones(64, 64)
    step = chainrule.compile(lambda h, xs: chainrule.scan(lambda h, x: (h @ w + x, None), h, xs)[0])
    p = chainrule.profile(step, chainrule.ones(16, 64), chainrule.ones(10, 16, 64), calls=3)
    (row,) = (row for row in p.rows if "matmul" in row.name)
    assert row.flops == 10 * 16 * 64 * (2 * 64 + 1)


def test_profile_of_nothing_compiled_says_so() -> None:
    with pytest.raises(chainrule.ArgumentError, match="nothing was measured"):
        chainrule.profile(lambda: None)


def test_results_are_the_same_under_a_profile() -> None:
    weight = nn.Parameter(chainrule.ones(4))

    @chainrule.compile
    def step() -> None:
        with chainrule.no_grad():
            weight.mul_(2.0)

    chainrule.profile(step, calls=3)
    assert weight.tolist() == [32.0] * 4  # two calls to warm up, three measured


def test_command_line_writes_a_timeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="the extra 'full' is not installed")
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "digits", "--model", "mlp", "--epochs", "1", "--profile", "--out", "run"]
    assert main(arguments) == 0
    assert "GFLOP/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/profile.json").read_text())["traceEvents"]


def test_eager_training_is_recorded_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="the extra 'full' is not installed")
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "digits", "--model", "mlp", "--epochs", "1", "--eager", "--out", "run"]
    assert main(arguments) == 0
    settings = json.loads((tmp_path / "run/config.json").read_text())["settings"]
    eager = next(row for row in settings if row["name"] == "eager")
    assert eager["value"] is True
    assert eager["origin"] == "given"


def test_kernel_without_loops_counts_once() -> None:
    y = Buffer("y", float32, 1)
    kernel = Kernel("none", (y,), (), 1, (Store(y, Index(()), Read(Acc("a", "add", float32))),))
    assert flops(kernel) == 0
