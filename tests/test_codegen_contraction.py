"""Contractions in machine code, against einsum in float64 and PyTorch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from contraction_tools import NARROW, Compiled, Spec, Strides, check, matmul
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.codegen.contraction import supported
from chainrule.codegen.target import Target
from chainrule.core.dtype import DType, float32, float64

SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=40, **SLOW)
@given(
    *(st.integers(1, 70) for _ in range(3)),
    st.sampled_from(["nn", "nt", "tn", "tt"]),
    st.integers(1, 3),
    st.sampled_from([float32, float64]),
    st.sampled_from([None, None, *NARROW]),
)
def test_matmul_of_odd_sizes(
    m: int, k: int, n: int, turn: str, batch: int, dtype: DType, target: Target | None
) -> None:
    check(matmul(m, k, n, turn, batch, dtype), target=target)


@pytest.mark.parametrize("turn", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("sizes", [(100, 784, 300), (513, 100, 257), (1000, 300, 10)])
def test_matmul_in_many_chunks(sizes: tuple[int, int, int], turn: str) -> None:
    spec = matmul(*sizes, turn)
    check(spec)
    assert max(chunks for _, chunks in Compiled(spec.contraction()).phases) > 1


@pytest.mark.parametrize("columns", [10, 64, 100])
@pytest.mark.parametrize(("channels", "places"), [(30, 144), (5, 37), (3, 9)])
def test_image_with_channels_last_meets_weights_with_channels_first(
    columns: int, channels: int, places: int
) -> None:
    """What a linear layer behind a flattened image does: squares of weights are transposed."""
    depth = channels * places
    left = {"m": depth, "p": channels, "c": 1}
    right = {"n": depth, "c": places, "p": 1}
    extents = {"m": 33, "n": columns, "c": channels, "p": places}
    sizes = (33 * depth, columns * depth, 33 * columns)
    check(Spec("", "m", "n", "cp", extents, (left, right, {"m": columns, "n": 1}), sizes))


@pytest.mark.parametrize("target", [None, *NARROW])
@pytest.mark.parametrize(
    ("channels", "places", "steps"), [(30, 144, (21,)), (19, 37, (1, 3, 7)), (16, 33, (2, 3, 5))]
)
def test_gradient_of_weights_with_channels_first_packs_several_panels_at_once(
    channels: int, places: int, steps: tuple[int, ...], target: Target | None
) -> None:
    """The image's channels lie last: neither columns nor depth are contiguous in it."""
    pixels = channels * places
    extents = {"m": 70, "c": channels, "p": places, "b": 1, "k": 1, "l": 1}
    extents |= dict(zip("lkb", reversed(steps), strict=False))
    counts = {"l": 1, "k": extents["l"], "b": extents["l"] * extents["k"]}
    count = counts["b"] * extents["b"]
    left = {"m": 1} | {name: 70 * n for name, n in counts.items()}
    right = {"p": channels, "c": 1} | {name: 2 * pixels * n for name, n in counts.items()}
    out = {"b": 70 * pixels, "m": pixels, "c": places, "p": 1}
    sizes = (70 * count, 2 * pixels * count, 70 * pixels * extents["b"])
    spec = Spec("b", "m", "cp", "kl", extents, (left, right, out), sizes)
    check(spec, target=target)


@pytest.mark.parametrize("depth", [4099, 20001])
def test_long_depth_is_summed_in_pieces(depth: int) -> None:
    spec = matmul(48, depth, 33, "tn")
    check(spec)
    assert len(Compiled(spec.contraction()).phases) == 2


@pytest.mark.parametrize("sizes", [(40, 2100, 300), (18, 4099, 520)])
def test_long_depth_over_far_rows_is_summed_in_blocks_without_packing(
    sizes: tuple[int, int, int],
) -> None:
    spec = matmul(*sizes, "tn")
    check(spec)
    phases = Compiled(spec.contraction()).emitted.phases
    assert not any(phase.symbol.endswith("_pack") for phase in phases)


@pytest.mark.parametrize(("rows", "packs"), [(100, False), (600, True)])
def test_far_rows_are_packed_where_they_are_read_often(rows: int, packs: bool) -> None:
    spec = matmul(rows, 100, 784)
    check(spec)
    assert bool(Compiled(spec.contraction()).emitted.workspace) is packs


def layout(
    names: Sequence[str], extents: dict[str, int], chance: random.Random
) -> tuple[Strides, int]:
    """Return strides of an array with axes in any order, perhaps with gaps; and its size."""
    size = chance.choice([1, 1, 2, 3])
    strides = {}
    for name in chance.sample(names, len(names)):
        strides[name] = size
        size *= extents[name]
    return strides, size


def any_contraction(seed: int) -> Spec:
    """Return a random contraction: groups of axes, layouts, broadcast and reversed axes."""
    chance = random.Random(seed)
    names = iter("abcdefghijkl")
    sizes = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
    extents: dict[str, int] = {}

    def group(most: int, largest: int) -> str:
        own = [next(names) for _ in range(chance.randint(0, most))]
        extents.update({name: chance.choice(sizes[:largest]) for name in own})
        return "".join(own)

    batch, rows, columns, depth = group(2, 4), group(3, 8), group(2, 10), group(3, 7)
    left, m = layout(batch + rows + depth, extents, chance)
    right, n = layout(batch + columns + depth, extents, chance)
    out, size = layout(batch + rows + columns, extents, chance)
    for name in batch:
        if chance.random() < 0.3:
            chance.choice((left, right))[name] = 0
    start = 0
    for name in depth:
        if chance.random() < 0.3:
            start += right[name] * (extents[name] - 1)
            right[name] = -right[name]
    dtype = chance.choice([float32, float64])
    strides, sizes = (left, right, out), (m, n, size)
    return Spec(batch, rows, columns, depth, extents, strides, sizes, (0, start), dtype)


@settings(max_examples=60, **SLOW)
@given(st.integers(0, 2**32), st.sampled_from([None, None, *NARROW]))
def test_any_axes_and_strides(seed: int, target: Target | None) -> None:
    spec = any_contraction(seed)
    if np.prod(list(spec.extents.values()), dtype=np.int64) < 10_000_000:
        check(spec, seed % 1000, target)


# --- convolution -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """A convolution over an image that is padded already, channels last."""

    N: int
    H: int
    W: int
    C: int  # channels of one group
    O: int  # noqa: E741 - of one group
    kernel: tuple[int, int]
    step: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def out(self) -> tuple[int, int]:
        reach = [self.dilation * (k - 1) for k in self.kernel]
        return (self.H - reach[0] - 1) // self.step + 1, (self.W - reach[1] - 1) // self.step + 1

    def spec(self) -> Spec:
        (kh, kw), (h, w) = self.kernel, self.out
        channels, outs = self.C * self.groups, self.O * self.groups
        line = self.W * channels
        extents = {"g": self.groups, "n": self.N, "y": h, "x": w, "o": self.O}
        extents |= {"u": kh, "v": kw, "c": self.C}
        image = {"g": self.C, "n": self.H * line, "y": self.step * line, "x": self.step * channels}
        image |= {"u": self.dilation * line, "v": self.dilation * channels, "c": 1}
        taps = kh * kw
        weights = {"g": self.O * self.C * taps, "o": self.C * taps, "c": taps, "u": kw, "v": 1}
        result = {"g": self.O, "n": h * w * outs, "y": w * outs, "x": outs, "o": 1}
        sizes = (self.N * self.H * line, outs * self.C * taps, self.N * h * w * outs)
        return Spec("g", "nyx", "o", "uvc", extents, (image, weights, result), sizes)

    def gradient(self) -> Spec:
        """Return the gradient to the weights: image and result are contracted over pixels."""
        spec = self.spec()
        image, weights, result = spec.strides
        sizes = (spec.sizes[0], spec.sizes[2], spec.sizes[1])
        return Spec("g", "uvc", "o", "nyx", spec.extents, (image, result, weights), sizes)


IMAGES = [
    Image(2, 12, 11, 3, 16, (3, 3)),
    Image(2, 13, 13, 16, 33, (3, 3), 2),
    Image(3, 12, 12, 1, 30, (5, 5)),
    Image(1, 15, 14, 5, 7, (3, 2), 1, 2),
    Image(2, 9, 9, 4, 6, (3, 3), 2, 1, 3),
    Image(2, 9, 9, 1, 1, (3, 3), 1, 1, 8),
    Image(4, 7, 7, 64, 64, (1, 1)),
    Image(1, 4, 4, 300, 20, (3, 3)),
    Image(2, 9, 10, 20, 3, (3, 3), 2),
    Image(2, 9, 10, 33, 1, (3, 3), 1, 2),
]


@pytest.mark.parametrize("image", IMAGES, ids=str)
def test_convolution_agrees_with_pytorch(image: Image) -> None:
    torch = pytest.importorskip("torch")
    spec = image.spec()
    random_numbers = np.random.default_rng(0)
    x, w = (random_numbers.standard_normal(size).astype(np.float32) for size in spec.sizes[:2])
    result = np.full(spec.sizes[2], np.nan, np.float32)
    Compiled(spec.contraction()).run([x, w, result])
    pixels = torch.from_numpy(x.reshape(image.N, image.H, image.W, -1)).permute(0, 3, 1, 2)
    weights = torch.from_numpy(w.reshape(-1, image.C, *image.kernel))
    steps = {"stride": image.step, "dilation": image.dilation, "groups": image.groups}
    expected = torch.conv2d(pixels.double(), weights.double(), **steps).permute(0, 2, 3, 1)
    depth = image.C * image.kernel[0] * image.kernel[1]
    bound = 2e-7 * depth  # random numbers: eps times the sum of magnitudes, with room
    np.testing.assert_allclose(result, expected.numpy().ravel(), rtol=0, atol=bound)


@pytest.mark.parametrize("image", [*IMAGES, Image(64, 18, 18, 8, 24, (3, 3))], ids=str)
def test_gradient_to_weights(image: Image) -> None:
    check(image.gradient())


@pytest.mark.parametrize("image", IMAGES[:5], ids=str)
def test_result_with_channels_first_swaps_operands(image: Image) -> None:
    spec = image.spec()
    h, w = image.out
    pixels = h * w
    first = {"g": image.O * pixels, "n": image.groups * image.O * pixels, "o": pixels}
    out = first | {"y": w, "x": 1}
    extents = spec.extents
    strides = (*spec.strides[:2], out)
    check(Spec(spec.batch, spec.rows, spec.columns, spec.depth, extents, strides, spec.sizes))


# --- special cases -----------------------------------------------------------------------------


def test_nan_and_inf_reach_only_their_rows_and_columns() -> None:
    spec = matmul(20, 30, 37, "nt")
    a, b = np.ones((20, 30), np.float32), np.ones((37, 30), np.float32)
    a[3, 5], b[36, 7], a[8, 7], b[35, 0] = np.nan, np.inf, 0, -np.inf
    result = np.zeros((20, 37), np.float32)
    Compiled(spec.contraction()).run([a, b, result])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(result, a @ b.T)


def test_memory_aligned_to_elements_only() -> None:
    spec = matmul(30, 40, 50)
    memory = [np.zeros(size * 4 + 1, np.float32)[1:] for size in (1200, 2000, 1500)]
    a, b, result = memory[0][:1200], memory[1][:2000], memory[2][:1500]
    a[:], b[:] = np.arange(1200) % 7, np.arange(2000) % 5
    Compiled(spec.contraction()).run([a, b, result])
    np.testing.assert_array_equal(result.reshape(30, 50), a.reshape(30, 40) @ b.reshape(40, 50))


def test_whole_small_product_is_one_chunk() -> None:
    assert [n for _, n in Compiled(matmul(4, 16, 1).contraction()).phases][-1] == 1


@pytest.mark.parametrize("sizes", [(100, 784, 10), (256, 2048, 10)])
def test_dot_products_of_few_columns_need_no_workspace(sizes: tuple[int, int, int]) -> None:
    spec = matmul(*sizes, "nt")
    check(spec)
    assert Compiled(spec.contraction()).emitted.workspace == 0


def test_convolution_of_each_channel_by_itself_is_left_to_loops() -> None:
    assert not supported(Image(2, 9, 9, 1, 1, (3, 3), 1, 1, 8).spec().contraction())
    assert supported(Image(2, 9, 9, 4, 4, (3, 3), 1, 1, 2).spec().contraction())
