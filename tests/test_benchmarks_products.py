"""The list of the workloads' products: bytes and marks by hand, products of a small step."""

from __future__ import annotations

import pytest
from benchmarks.products import Cache, Machine, Product, products, table, traffic

import chainrule
from chainrule import nn, optim, zeros
from chainrule.core.dtype import float32
from chainrule.ir.expr import Acc, Axis, Buffer, Index, Load, Read, call
from chainrule.ir.kernel import Contraction, Store
from chainrule.runtime.roofline import Limits

MACHINE = Machine(2, Limits(200e9, 40e9), (Cache(1000, 400e9),))


def product(flops: int, moved: int, seconds: float, chunks: int = 8) -> Product:
    """Return a product of no interest but for its figures."""
    return Product("W", "matmul", "2x3x4", flops, moved, seconds, chunks, "")


@pytest.mark.parametrize(
    ("made", "mark"),
    [
        (product(1000, 100, 6e-9), ""),
        (product(1000, 100, 10e-9), "slow"),
        (product(1000, 100, 10e-9, chunks=1), "small"),
        (product(1000, 250, 10e-9, chunks=1), "memory"),
    ],
)
def test_only_bytes_that_take_longer_than_operations_are_an_excuse(
    made: Product, mark: str
) -> None:
    assert made.verdict(MACHINE) == mark


def test_what_fits_into_a_cache_has_a_shorter_least_time() -> None:
    inside, outside = product(1000, 500, 25e-9), product(1000, 2000, 100e-9)
    assert inside.line(MACHINE).split()[6:8] == ["50%", "20%"]
    assert outside.line(MACHINE).split()[6:8] == ["50%", "50%"]


def test_summary_counts_each_mark() -> None:
    made = [product(1000, 100, 6e-9), product(1000, 100, 9e-9), product(1000, 900, 1e-6)]
    text = table(made, MACHINE)
    assert "3 products, 2 below 70% of the peak: 1 bound by memory, 0 of one chunk, 1" in text
    assert "200 GFLOP/s" in text


def test_traffic_counts_what_is_updated_in_place_twice() -> None:
    row, column, inner = Axis("m", 3), Axis("n", 5), Axis("k", 7)
    left, right = Buffer("left", float32, 21), Buffer("right", float32, 35)
    weights, gradient = Buffer("weights", float32, 15), Buffer("gradient", float32, 15)
    acc = Acc("sum", "add", float32)
    place = Index(((row, 5), (column, 1)))
    stores = (
        Store(gradient, place, Read(acc)),
        Store(weights, place, call("subtract", Load(weights, (place,)), Read(acc))),
    )
    factors = (
        Load(left, (Index(((row, 7), (inner, 1))),)),
        Load(right, (Index(((inner, 5), (column, 1))),)),
    )
    buffers, groups = (left, right, weights, gradient), ((), (row,), (column,), (inner,))
    made = Contraction("p", buffers, *groups, *factors, acc, stores, frozenset(buffers[2:]))
    assert traffic(made) == 4 * (21 + 35 + 15 + 2 * 15)


def test_products_of_a_step_are_those_of_its_layers() -> None:
    model = nn.Sequential(nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 16))
    rule, inputs = optim.SGD(model.parameters(), lr=0.1), zeros((64, 48))

    @chainrule.compile
    def step() -> object:
        rule.zero_grad()
        loss = (model(inputs) ** 2).sum()
        loss.backward()
        rule.step()
        return loss

    found = {p.shape: p for p in products(step, 2)}
    assert {"64x48x32", "64x32x16"} <= set(found)
    assert len(found) == 5  # forward two, by the weights two, by the input one
    assert found["64x48x32"].flops >= 2 * 64 * 48 * 32
    assert all(p.seconds > 0 and p.moved > 0 and p.chunks >= 1 for p in found.values())
