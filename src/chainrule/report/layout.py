"""Layout: places for the boxes of a directed graph, in layers from top to bottom.

Takes: node sizes and edges. Gives: a place for each node, and for each edge the points that it
runs through.
The one idea: four steps, each simple (Sugiyama, Tagawa & Toda, "Methods for visual understanding
of hierarchical system structures", 1981): break cycles, rank by longest path, order each rank
by barycentres, then shift boxes sideways until lines are straight.

An edge that spans several ranks runs through a lane: an empty place in each rank between.
All long edges from one node share a lane, so that a densely connected network stays readable
and its drawing grows with nodes times ranks, not with edges times ranks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[int, int]
Lane = tuple[int, int]  # (node, rank): the place of the node itself, or of its lane further down

LANE_WIDTH = 10.0  # pixels
MAX_SWEEPS = 12
# Above this number of places fewer sweeps are made: the time stays below a second or so.
MANY_PLACES = 3000
# What stands on the longest path is drawn straight; other boxes, then lanes, give way.
SPINE_WEIGHT, BOX_WEIGHT, LANE_WEIGHT = 1e5, 30.0, 1.0


@dataclass(frozen=True)
class Placement:
    """Where everything is.

    Args:
        x: Horizontal middle of each node, in pixels.
        rank: Layer of each node, 0 at the top.
        lanes: Horizontal place of each (node, rank).
        segments: Pieces of edges between places in neighbouring ranks, each once.
        upward: Edges against the flow, which close a cycle.
        width: Of the whole drawing, in pixels.
    """

    x: tuple[float, ...]
    rank: tuple[int, ...]
    lanes: Mapping[Lane, float]
    segments: tuple[tuple[Lane, Lane], ...]
    upward: tuple[Edge, ...]
    width: float


def place(widths: Sequence[float], edges: Sequence[Edge], *, gap: float = 28.0) -> Placement:
    """Lay out a graph.

    Args:
        widths: Width of each node's box in pixels.
        edges: Pairs of node numbers (from, to); loops and repeated edges are allowed.
        gap: Least distance between two boxes of a rank, in pixels.

    Example:
        >>> place([100, 100, 100], [(0, 1), (1, 2), (0, 2)]).rank
        (0, 1, 2)
    """
    forward, upward = break_cycles(len(widths), edges)
    rank = longest_path_ranks(len(widths), forward)
    segments = _segments(forward, rank)
    layers = _initial_layers(rank, segments)
    above, below = _neighbours(segments)
    places = sum(map(len, layers))
    sweeps = MAX_SWEEPS if places < MANY_PLACES else 3
    layers = _ordered(layers, above, below, sweeps)
    size = {lane: _width(lane, rank, widths) for layer in layers for lane in layer}
    weight = _weights(forward, rank, size)
    x = _straightened(layers, (above, below), size, weight, gap, sweeps)
    left = min((x[lane] - size[lane] / 2 for lane in x), default=0.0)
    right = max((x[lane] + size[lane] / 2 for lane in x), default=0.0)
    lanes = {lane: value - left for lane, value in x.items()}
    middles = tuple(lanes[(node, rank[node])] for node in range(len(widths)))
    return Placement(middles, rank, lanes, segments, tuple(upward), right - left)


def break_cycles(count: int, edges: Sequence[Edge]) -> tuple[list[Edge], list[Edge]]:
    """Return edges without cycles, and those left out: the back edges of a depth-first search."""
    following: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        following[start].append(end)
    state = [0] * count  # 0 unseen, 1 on the path from the root, 2 done
    back: set[Edge] = set()
    for root in range(count):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(following[root]))]
        while stack:
            node, rest = stack[-1]
            for end in rest:
                if state[end] == 1:
                    back.add((node, end))
                elif state[end] == 0:
                    state[end] = 1
                    stack.append((end, iter(following[end])))
                    break
            else:
                state[node] = 2
                stack.pop()
    unique = list(dict.fromkeys(edges))
    return [e for e in unique if e not in back], [e for e in unique if e in back]


def longest_path_ranks(count: int, edges: Sequence[Edge]) -> tuple[int, ...]:
    """Return each node's rank: one more than that of its lowest predecessor.

    A node without predecessors stands just above the first node that needs it.
    """
    following: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for start, end in edges:
        following[start].append(end)
        waiting[end] += 1
    rank = [0] * count
    sources = [node for node in range(count) if waiting[node] == 0]
    ready = list(sources)
    for node in ready:
        for end in following[node]:
            rank[end] = max(rank[end], rank[node] + 1)
            waiting[end] -= 1
            if waiting[end] == 0:
                ready.append(end)
    for node in sources:
        if following[node]:
            rank[node] = min(rank[end] for end in following[node]) - 1
    return tuple(rank)


def _segments(edges: Sequence[Edge], rank: Sequence[int]) -> tuple[tuple[Lane, Lane], ...]:
    """Return the pieces of all edges; a node's lane goes down to just above its last target."""
    pieces: dict[tuple[Lane, Lane], None] = {}
    for start, end in edges:
        for level in range(rank[start], rank[end] - 1):
            pieces[((start, level), (start, level + 1))] = None
        pieces[((start, rank[end] - 1), (end, rank[end]))] = None
    return tuple(pieces)


def _initial_layers(rank: Sequence[int], segments: Sequence[tuple[Lane, Lane]]) -> list[list[Lane]]:
    """Return the places of each rank: boxes in the order given, then lanes, latest first."""
    lanes = dict.fromkeys((node, level) for node, level in enumerate(rank))
    lanes |= dict.fromkeys(lane for piece in segments for lane in piece)
    layers: list[list[Lane]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for lane in lanes:
        layers[lane[1]].append(lane)
    for layer in layers:
        # The lane that began last stays nearest to the boxes: nested skips do not cross.
        layer.sort(key=lambda lane: (0, lane[0]) if rank[lane[0]] == lane[1] else (1, -lane[0]))
    return layers


def _neighbours(
    segments: Sequence[tuple[Lane, Lane]],
) -> tuple[dict[Lane, list[Lane]], dict[Lane, list[Lane]]]:
    above: dict[Lane, list[Lane]] = {}
    below: dict[Lane, list[Lane]] = {}
    for start, end in segments:
        below.setdefault(start, []).append(end)
        above.setdefault(end, []).append(start)
    return above, below


def _ordered(
    layers: list[list[Lane]],
    above: Mapping[Lane, list[Lane]],
    below: Mapping[Lane, list[Lane]],
    sweeps: int,
) -> list[list[Lane]]:
    """Sort each rank by its neighbours' mean place, down and up, while fewer pieces cross."""
    best, fewest = layers, count_crossings(layers, below)
    for _ in range(sweeps):
        if fewest == 0:
            break
        layers = _sweep(layers, above)
        layers = _sweep(layers[::-1], below)[::-1]
        crossings = count_crossings(layers, below)
        if crossings >= fewest:
            break
        best, fewest = layers, crossings
    return best


def _sweep(layers: list[list[Lane]], fixed: Mapping[Lane, list[Lane]]) -> list[list[Lane]]:
    result = layers[:1]
    for layer in layers[1:]:
        position = {lane: float(i) for i, lane in enumerate(result[-1])}
        centre = {}
        for i, lane in enumerate(layer):
            known = [position[other] for other in fixed.get(lane, ()) if other in position]
            # A place without neighbours keeps its own.
            centre[lane] = sum(known) / len(known) if known else float(i)
        result.append(sorted(layer, key=lambda lane: centre[lane]))
    return result


def count_crossings(layers: Sequence[Sequence[Lane]], below: Mapping[Lane, list[Lane]]) -> int:
    """Return how many pieces of edges cross (Barth, Mutzel & Jünger 2004: inversions by a tree)."""
    total = 0
    for upper, lower in itertools.pairwise(layers):
        position = {lane: i for i, lane in enumerate(lower)}
        ends = [i for lane in upper for i in sorted(position[b] for b in below.get(lane, ()))]
        tree = [0] * (len(lower) + 1)  # Fenwick tree over places of the lower rank
        for seen, end in enumerate(ends):
            not_right, i = 0, end + 1
            while i:
                not_right += tree[i]
                i &= i - 1
            total += seen - not_right
            i = end + 1
            while i <= len(lower):
                tree[i] += 1
                i += i & -i
    return total


def count_pieces(count: int, edges: Sequence[Edge]) -> int:
    """Return how many pieces of edges a drawing would have."""
    forward, _ = break_cycles(count, edges)
    return len(_segments(forward, longest_path_ranks(count, forward)))


def _weights(
    edges: Sequence[Edge], rank: Sequence[int], size: Mapping[Lane, float]
) -> dict[Lane, float]:
    """Return how strongly each place holds its own against its neighbours."""
    below: dict[int, int] = {}  # node to the length of the longest path down from it
    for start, end in sorted(edges, key=lambda edge: -rank[edge[0]]):
        below[start] = max(below.get(start, 0), below.get(end, 0) + 1)
    longest = max((rank[node] + steps for node, steps in below.items()), default=0)
    weights = {}
    for node, level in size:
        if rank[node] != level:
            weights[(node, level)] = LANE_WEIGHT
        else:
            on_spine = level + below.get(node, 0) == longest
            weights[(node, level)] = SPINE_WEIGHT if on_spine else BOX_WEIGHT
    return weights


def _width(lane: Lane, rank: Sequence[int], widths: Sequence[float]) -> float:
    return widths[lane[0]] if rank[lane[0]] == lane[1] else LANE_WIDTH


def _straightened(
    layers: Sequence[Sequence[Lane]],
    neighbours: tuple[Mapping[Lane, list[Lane]], Mapping[Lane, list[Lane]]],
    size: Mapping[Lane, float],
    weight: Mapping[Lane, float],
    gap: float,
    sweeps: int,
) -> dict[Lane, float]:
    """Return horizontal places that keep each rank's order and make lines straight."""
    above, below = neighbours
    x: dict[Lane, float] = {}
    for layer in layers:
        x |= _spread([0.0] * len(layer), [1.0] * len(layer), layer, size, gap)
    for i in range(2 * sweeps):
        # The last sweep goes down, so that a box ends up below what feeds it.
        fixed, order = (below, layers[::-1]) if i % 2 == 0 else (above, layers)
        for layer in order:
            wishes = [_wish(lane, fixed, x, weight) for lane in layer]
            x |= _spread(wishes, [weight[lane] for lane in layer], layer, size, gap)
    return x


def _wish(
    lane: Lane,
    fixed: Mapping[Lane, list[Lane]],
    x: Mapping[Lane, float],
    weight: Mapping[Lane, float],
) -> float:
    """Return where a place would like to be: at the mean of its weightiest neighbours."""
    neighbours = fixed.get(lane, ())
    if not neighbours:
        return x[lane]
    heaviest = max(weight[other] for other in neighbours)
    values = [x[other] for other in neighbours if weight[other] == heaviest]
    return sum(values) / len(values)


def _spread(
    wishes: Sequence[float],
    weights: Sequence[float],
    layer: Sequence[Lane],
    size: Mapping[Lane, float],
    gap: float,
) -> dict[Lane, float]:
    """Return the places nearest to ``wishes`` (weighted squares) at which nothing overlaps.

    With each place's least distance from the first subtracted this is isotonic regression,
    solved exactly by pooling adjacent violators (Ayer et al. 1955).
    """
    offset = [0.0]
    for a, b in itertools.pairwise(layer):
        lanes = size[a] == LANE_WIDTH and size[b] == LANE_WIDTH
        offset.append(offset[-1] + (size[a] + size[b]) / 2 + (2.0 if lanes else gap))
    pools: list[list[float]] = []  # [weight, weighted mean, members]
    for wish, weight, shift in zip(wishes, weights, offset, strict=False):
        pools.append([weight, wish - shift, 1])
        while len(pools) > 1 and pools[-2][1] > pools[-1][1]:
            weight_b, mean_b, members_b = pools.pop()
            weight_a, mean_a, members_a = pools.pop()
            total = weight_a + weight_b
            mean = (weight_a * mean_a + weight_b * mean_b) / total
            pools.append([total, mean, members_a + members_b])
    means = [mean for _, mean, members in pools for _ in range(int(members))]
    return {lane: m + o for lane, m, o in zip(layer, means, offset, strict=False)}
