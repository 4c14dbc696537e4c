"""Explorations: each runs in its short form, and its numbers say what its page claims."""

from __future__ import annotations

import ast
import html
import html.parser
import inspect
import itertools
import re
from typing import Any

import numpy as np
import pytest
from report_samples import checked_svg

from chainrule.core.errors import ArgumentError
from chainrule.explore import EXPLORATIONS, Explored, explore, render_page
from chainrule.explore.code import shown_code
from chainrule.explore.dead_relu import RATES
from chainrule.explore.exploration import Exploration, cell_text
from chainrule.explore.overfitting import EARLY, outcomes
from chainrule.explore.symmetry import different_units
from chainrule.explore.universal_approximation import errors
from chainrule.report.standalone import standalone

pytest.importorskip("sklearn", reason="the extra 'full' is not installed")

NAMES = sorted(EXPLORATIONS)
MOST_LINES = 20


@pytest.fixture(scope="module")
def explored() -> dict[str, Explored]:
    """Every exploration, run once in its short form."""
    return {name: explore(name, short=True) for name in NAMES}


class Page(html.parser.HTMLParser):
    """Cells of tables, row by row, and the text of the code."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.code = ""
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.inside = "cell"
        elif tag == "pre":
            self.inside = "code"

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag in ("th", "td", "pre") else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "cell":
            self.rows[-1][-1] += data
        elif self.inside == "code":
            self.code += data


# --- what holds for all of them


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_well_formed_described_drawings(
    name: str, explored: dict[str, Explored]
) -> None:
    run = explored[name]
    assert run.figures
    for figure in run.figures:
        root = checked_svg(figure.drawing)
        assert root.get("aria-label")
        description = root.find("desc")
        assert description is not None
        assert description.text
    drawings = [(figure.caption.en, figure.drawing) for figure in run.figures]
    checked_svg(standalone(drawings, title=run.exploration.title.en))


@pytest.mark.parametrize("name", NAMES)
def test_page_holds_the_numbers_and_the_words(name: str, explored: dict[str, Explored]) -> None:
    pytest.importorskip("jinja2", reason="the extra 'full' is not installed")
    run = explored[name]
    text = render_page(run)
    page = Page(text)
    want = [list(row) for t in run.tables for row in (t.head, *t.texts())]
    assert page.rows == want
    for words in (run.exploration.title, *run.exploration.see):
        assert html.escape(words.en) in text.replace("&#39;", "&#x27;").replace("&#34;", "&quot;")
        assert words.ko in text
        assert re.search("[가-힣]", words.ko)
    assert page.code == shown_code(run.exploration)
    assert "http://www.w3.org" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def body_lines(exploration: Exploration) -> int:
    """Return how many lines the experiment's body has, without its docstring and empty lines."""
    source = inspect.getsource(exploration.experiment)
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    first = function.body[0].end_lineno if ast.get_docstring(function) else function.lineno
    assert first is not None
    return sum(bool(line.strip()) for line in source.splitlines()[first:])


@pytest.mark.parametrize("name", NAMES)
def test_shown_code_is_short_and_gives_the_same_numbers(
    name: str, explored: dict[str, Explored]
) -> None:
    run = explored[name]
    assert body_lines(run.exploration) <= MOST_LINES
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(shown_code(run.exploration), name, "exec"), namespace)
    again = namespace["experiment"](**run.parameters)
    if name == "batch-size":  # how long it took differs
        assert {k: v.accuracy for k, v in again.items()} == {
            k: v.accuracy for k, v in run.result.items()
        }
    else:
        assert repr(again) == repr(run.result)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_as_wide_as_their_head(name: str, explored: dict[str, Explored]) -> None:
    for table in explored[name].tables:
        assert {len(row) for row in table.rows} == {len(table.head)}
        assert "NaN" not in [cell_text(cell) for row in table.rows for cell in row]


# --- what each of them claims


def test_perceptron_learns_and_and_or_but_not_xor(explored: dict[str, Explored]) -> None:
    table = {row[0]: row[1:] for row in explored["perceptron"].tables[0].rows}
    assert table["MLP"] == (4, 4, 4)
    for linear in ("perceptron", "three linear layers"):
        assert table[linear][:2] == (4, 4)
        assert table[linear][2] < 4


def test_stacked_linear_layers_draw_a_straight_border(explored: dict[str, Explored]) -> None:
    """What they say is a plane: second differences vanish."""
    plane = explored["perceptron"].result["AND", "three linear layers"][1].reshape(81, 81)
    bent = explored["perceptron"].result["XOR", "MLP"][1].reshape(81, 81)
    assert np.abs(np.diff(plane, 2, axis=0)).max() < 1e-4
    assert np.abs(np.diff(bent, 2, axis=0)).max() > 1e-2


def test_slopes_of_activations_are_the_known_ones(explored: dict[str, Explored]) -> None:
    curves = explored["activations"].result
    x, f, slope = curves["sigmoid"]
    np.testing.assert_allclose(f, 1 / (1 + np.exp(-x)), rtol=1e-12)
    np.testing.assert_allclose(slope, f * (1 - f), rtol=1e-9)
    assert slope.max() == 0.25
    x, _, slope = curves["tanh"]
    np.testing.assert_allclose(slope, 1 - np.tanh(x) ** 2, atol=1e-14)
    assert set(curves["relu"][2]) == {0.0, 1.0}
    assert (curves["leaky_relu"][2] > 0).all()


def test_error_falls_as_relus_are_added(explored: dict[str, Explored]) -> None:
    found = list(errors(explored["universal-approximation"].result).values())
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] / 8


def test_temperature_changes_certainty_and_not_the_order(explored: dict[str, Explored]) -> None:
    shares = explored["softmax-temperature"].result
    for values in shares.values():
        assert sum(values) == pytest.approx(1, abs=1e-6)
        assert values == sorted(values, reverse=True)
    largest = [values[0] for _, values in sorted(shares.items())]
    assert largest == sorted(largest, reverse=True)
    assert shares[1.0][0] == pytest.approx(np.exp(3) / np.exp([3, 2, 1, 0, -1]).sum(), rel=1e-6)


def test_squared_error_is_flat_where_the_answer_is_most_wrong(
    explored: dict[str, Explored],
) -> None:
    curves = explored["loss-gradients"].result
    score, _, entropy = curves["cross-entropy"]
    p = 1 / (1 + np.exp(-score))
    np.testing.assert_allclose(entropy, p - 1, atol=1e-12)
    squared = curves["squared error"][2]
    np.testing.assert_allclose(squared, 2 * (p - 1) * p * (1 - p), atol=1e-12)
    assert abs(squared[0]) < 1e-3 < 0.99 < abs(entropy[0])


def test_equal_first_weights_stay_equal(explored: dict[str, Explored]) -> None:
    outcome = explored["symmetry"].result
    assert different_units(outcome["all zero"][0]) == 1
    assert different_units(outcome["all 0.1"][0]) == 1
    weights, losses, accuracy = outcome["at random (Xavier)"]
    assert different_units(weights) == len(weights)
    assert accuracy > 0.9 > 0.5 > outcome["all 0.1"][2]
    assert losses[-1] < outcome["all 0.1"][1][-1] < outcome["all zero"][1][-1]


def test_first_weights_decide_what_becomes_of_the_outputs(
    explored: dict[str, Explored],
) -> None:
    stds = {key: [x.std() for x in kept] for key, kept in explored["initialization"].result.items()}
    shown = {tuple(row[:2]): row[2:] for row in explored["initialization"].tables[0].rows}
    assert {key: tuple(map(float, values)) for key, values in stds.items()} == shown
    assert stds["tanh", "Xavier"][-1] > 0.25
    assert stds["tanh", "σ = 0.01"][-1] < 1e-4
    assert 0.5 < stds["ReLU", "He"][-1] / stds["ReLU", "He"][0] < 2
    assert stds["ReLU", "Xavier"][-1] < stds["ReLU", "Xavier"][0] / 2
    saturated = explored["initialization"].result["sigmoid", "σ = 1"][-1]
    assert ((saturated < 0.05) | (saturated > 0.95)).mean() > 0.5


def test_gradient_vanishes_through_sigmoids_alone(explored: dict[str, Explored]) -> None:
    norms = explored["vanishing-gradient"].result
    assert norms["sigmoid"][0] < 1e-4 * norms["sigmoid"][-1]
    for name in ("ReLU", "tanh", "sigmoid, batch norm", "sigmoid, residual"):
        assert norms[name][0] > 0.02 * norms[name][-1], name


def test_relus_die_as_the_rate_grows(explored: dict[str, Explored]) -> None:
    shares = explored["dead-relu"].result
    dead = [shares["ReLU", rate][0] for rate in RATES]
    assert dead[0] < 0.05
    assert dead[-1] > 0.5
    assert all(after >= before - 0.05 for before, after in itertools.pairwise(dead))
    assert all(shares["Leaky ReLU", rate][0] == 0 for rate in RATES)


def test_steps_on_the_ravine_are_those_of_the_formula(explored: dict[str, Explored]) -> None:
    """Gradient descent multiplies x by 1 - lr/10 and y by 1 - 2 lr."""
    for name, rate in (("too small", 0.02), ("fastest", 0.95), ("too large", 1.05)):
        path = np.array(explored["learning-rate"].result[name])
        k = np.arange(len(path))
        np.testing.assert_allclose(path[:, 0], -7 * (1 - rate / 10) ** k, rtol=1e-9)
        np.testing.assert_allclose(path[:, 1], 2 * (1 - 2 * rate) ** k, rtol=1e-9)


def test_momentum_arrives_earlier(explored: dict[str, Explored]) -> None:
    ends = {row[0]: row[-1] for row in explored["momentum"].tables[0].rows}
    assert ends["momentum 0.9"] < ends["momentum 0.5"] < ends["without"]
    assert ends["Nesterov 0.9"] < ends["momentum 0.9"]


def test_optimizers_get_lower_on_every_surface(explored: dict[str, Explored]) -> None:
    paths = explored["optimizers"].result
    assert {"SGD", "Momentum", "Nesterov", "Adam", "AdamW"} <= {name for _, name in paths}
    for (place, name), path in paths.items():
        assert np.isfinite(path).all(), (place, name)
        assert path[0] == ((-7.0, 0.01) if place == "saddle" else (-7.0, 2.0))
    for row in explored["optimizers"].tables[0].rows:
        assert row[1] < 6.45
        assert row[2] < 2.45


def test_smaller_batches_get_further_with_the_same_examples(
    explored: dict[str, Explored],
) -> None:
    rows = {row[0]: row[1:] for row in explored["gd-vs-sgd"].tables[0].rows}
    assert rows["one at a time"][0] > rows["32 at a time"][0] > rows["all examples"][0]
    assert rows["exact solution"][2] < rows["one at a time"][2] < rows["all examples"][2]


def test_batch_size_trades_memory_for_steps(explored: dict[str, Explored]) -> None:
    outcome = explored["batch-size"].result
    sizes = list(outcome)
    memory = [outcome[size].memory for size in sizes]
    assert memory == sorted(memory)
    assert [outcome[size].steps for size in sizes] == [-(-sizes[-1] // size) for size in sizes]
    # On a busy machine times say nothing; that small batches cost more is what the page shows.
    assert all(outcome[size].seconds > 0 for size in sizes)
    assert outcome[sizes[0]].accuracy[-1] > outcome[sizes[-1]].accuracy[-1] + 0.2


def test_remedies_narrow_the_gap(explored: dict[str, Explored]) -> None:
    found = outcomes(explored["overfitting"].result)
    gap = {name: train[0] - test[0] for name, (train, _, test) in found.items()}
    assert found["nothing"][0][0] > 0.95
    for name in ("L1", "L2", "dropout", EARLY):
        assert gap[name] < gap["nothing"], name
    assert found[EARLY][1][1] <= found["nothing"][1][1]


# --- names and parameters


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'optimizers'"):
        explore("optimisers")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"step": 3}, "did you mean 'steps'"),
        ({"steps": 0}, "steps=0: expected a whole number from 1"),
        ({"steps": 2.5}, "expected a whole number"),
        ({"lr": float("nan")}, "lr=nan: expected a positive number"),
        ({"lr": -1.0}, "expected a positive number"),
    ],
)
def test_parameters_are_checked_before_the_experiment(
    parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        explore("momentum", parameters=parameters)


def test_seed_decides_the_numbers() -> None:
    small = {"samples": 8, "width": 8}
    runs = [explore("initialization", parameters={**small, "seed": s}) for s in (1, 1, 2)]
    first, again, other = (run.result["tanh", "He"][0] for run in runs)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
