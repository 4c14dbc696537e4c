"""Diagram: a network's graph as a drawing, data flowing from top to bottom.

Takes: a `Diagram`. Gives: SVG as text, one box a node with its label, its settings, the shape
of its result and its parameters.
The one idea: all boxes have one width and stand in ranks, so that a plain network reads like a
list and a skip connection is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.core.errors import ArgumentError
from chainrule.report.contents import Diagram, DiagramNode
from chainrule.report.layout import Lane, Placement, count_pieces, place
from chainrule.report.svg import coordinate, drawing, element, text
from chainrule.report.words import fit, one_line, text_width

MAX_NODES = 400  # more boxes than this cannot be read, and their layout takes long
MIN_WIDTH, MAX_WIDTH = 190.0, 320.0  # pixels of a box
TALL, SHORT = 46.0, 28.0  # pixels: a box with two lines, with one
FONT, SMALL = 13.0, 11.5  # pixels; equal `.diagram` in style.css
MAX_PIECES = 8000  # of edges between two ranks; each costs about a hundred bytes
BOLD = 1.08  # bold text is wider by this factor
PADDING = 12.0
MARGIN = 6.0
MIN_STEP, MAX_STEP = 20.0, 54.0  # pixels between two ranks
PORT = 22.0  # pixels between two arrows into one box
LOOP = 22.0  # pixels beside the boxes for edges that go back up


def draw_diagram(diagram: Diagram) -> str:
    """Return a drawing of a network.

    Raises:
        ArgumentError: It is too large to be read; see `too_large`.

    Example:
        >>> nodes = (DiagramNode("x", "input", kind="input"), DiagramNode("f", "Linear"))
        >>> draw_diagram(Diagram(nodes, (("x", "f"),)))[:20]
        '<svg class="drawing '
    """
    reason = too_large(diagram)
    if reason:
        raise ArgumentError(
            f"draw_diagram: {reason}", hint="draw layers instead of single operations"
        )
    nodes = diagram.nodes
    if not nodes:
        return drawing(200, 40, "empty network", [text(8, 24, "no layers", "muted")])
    edges = _numbered_edges(diagram)
    width = _box_width(nodes)
    placement = place([width] * len(nodes), edges)
    sheet = _Sheet(nodes, placement, width, *_rank_tops(nodes, placement))
    boxes = [_box(node, *sheet.corner(i), width) for i, node in enumerate(nodes)]
    size = (
        placement.width + 2 * MARGIN + (LOOP if placement.upward else 0.0),
        sheet.tops[-1] + sheet.heights[-1] + MARGIN,
    )
    label = f"The network's graph: {len(nodes)} nodes"
    return drawing(*size, label, [*_edges(sheet), *_upward(sheet), *boxes], style="diagram")


def too_large(diagram: Diagram) -> str:
    """Return why ``diagram`` cannot be drawn so that one can read it, or an empty string."""
    count = len(diagram.nodes)
    if count > MAX_NODES:
        return f"{count:,} nodes, a drawing holds at most {MAX_NODES}"
    pieces = count_pieces(count, _numbered_edges(diagram))
    if pieces > MAX_PIECES:
        return f"{len(diagram.edges):,} edges between {count} nodes are too many for a drawing"
    return ""


def _numbered_edges(diagram: Diagram) -> list[tuple[int, int]]:
    number = {node.id: i for i, node in enumerate(diagram.nodes)}
    return [(number[start], number[end]) for start, end in diagram.edges]


@dataclass(frozen=True)
class _Sheet:
    """Boxes with their ranks, and the upper edge and height of each rank in pixels."""

    nodes: tuple[DiagramNode, ...]
    placement: Placement
    width: float
    tops: list[float]
    heights: list[float]

    def corner(self, i: int) -> tuple[float, float]:
        """Return the upper left corner of a box."""
        lane = (i, self.placement.rank[i])
        return self.x(lane) - self.width / 2, self.upper(lane)

    def x(self, lane: Lane) -> float:
        """Return the horizontal middle of a place."""
        return self.placement.lanes[lane] + MARGIN

    def is_box(self, lane: Lane) -> bool:
        """Return whether a place is a node's own, not its lane further down."""
        return self.placement.rank[lane[0]] == lane[1]

    def height(self, lane: Lane) -> float:
        """Return the height of a place: its box's, or its rank's for a lane."""
        return _height(self.nodes[lane[0]]) if self.is_box(lane) else self.heights[lane[1]]

    def upper(self, lane: Lane) -> float:
        """Return the upper end of a place."""
        return self.tops[lane[1]] + (self.heights[lane[1]] - self.height(lane)) / 2

    def lower(self, lane: Lane) -> float:
        """Return the lower end of a place."""
        return self.upper(lane) + self.height(lane)


def _box_width(nodes: Sequence[DiagramNode]) -> float:
    """Return the width that the widest box needs, within limits."""
    widest = MIN_WIDTH
    for node in nodes:
        first = text_width(one_line(node.label), FONT) * BOLD + text_width(_right(node)[0], SMALL)
        second = text_width(node.detail, SMALL) + text_width(_right(node)[1], SMALL)
        widest = max(widest, max(first, second) + 2 * PADDING + 16)
    return min(widest, MAX_WIDTH)


def _right(node: DiagramNode) -> tuple[str, str]:
    """Return what stands on the right of a box: in its first line, in its second."""
    if _height(node) == SHORT:
        return node.shape, ""
    return (f"{node.parameters:,}" if node.parameters else ""), node.shape


def _height(node: DiagramNode) -> float:
    return TALL if node.detail or node.parameters else SHORT


def _rank_tops(
    nodes: Sequence[DiagramNode], placement: Placement
) -> tuple[list[float], list[float]]:
    """Return the upper edge and the height of each rank."""
    count = max(placement.rank) + 1
    heights = [0.0] * count
    for node, level in zip(nodes, placement.rank, strict=True):
        heights[level] = max(heights[level], _height(node))
    # A line that goes far sideways needs height, or it would be nearly flat.
    steps = [MIN_STEP] * count
    for (start, level), end in placement.segments:
        sideways = abs(placement.lanes[(start, level)] - placement.lanes[end])
        steps[level] = max(steps[level], min(MIN_STEP + sideways / 8, MAX_STEP))
    tops = [MARGIN]
    for level in range(count - 1):
        tops.append(tops[-1] + heights[level] + steps[level])
    return tops, heights


def _box(node: DiagramNode, left: float, top: float, width: float) -> str:
    height = _height(node)
    first, second = _right(node)
    radius = height / 2 if node.kind in ("input", "output") else 6
    frame = element(
        "rect",
        {"x": left, "y": top, "width": width, "height": height, "rx": radius, "class": "box"},
    )
    inset = PADDING + (4 if radius > 6 else 0)
    lines = [(node.label, first)] + ([(node.detail, second)] if height == TALL else [])
    parts = [frame]
    for i, (words, aside) in enumerate(lines):
        y = top + (18.5 if height == SHORT else 19 + 17 * i)
        size = FONT if i == 0 else SMALL
        room = width - 2 * inset - (8 if aside else 0)
        # Each side may take what the other leaves, and half in any case.
        need = text_width(words, size) * BOLD
        aside = fit(aside, max(room / 2, room - need), SMALL) if aside else ""
        if words or i == 0:
            shown = fit(words, (room - text_width(aside, SMALL)) / BOLD, size)
            parts.append(text(left + inset, y, shown, "label" if i == 0 else "detail"))
        if aside:
            style = "detail" if i or height == SHORT else "parameters"
            parts.append(text(left + width - inset, y, aside, style, anchor="end"))
    style = f"node {node.kind}" + (" trained" if node.parameters else "")
    return element("g", {"class": style, "data-tip": _tip(node)}, *parts)


def _tip(node: DiagramNode) -> str:
    parameters = f"{node.parameters:,} parameters" if node.parameters else ""
    parts = (one_line(node.label), node.detail, node.shape, parameters)
    return " · ".join(part for part in parts if part)


def _edges(sheet: _Sheet) -> Iterator[str]:
    ports = _ports(sheet)
    for start, end in sheet.placement.segments:
        x, y = ports[(start, end)], sheet.upper(end)
        yield _flow(sheet, start, end, x)
        if not sheet.is_box(end):
            # Through its rank a lane goes straight down, beside the boxes.
            down = f"M{coordinate(x)} {coordinate(y)}V{coordinate(sheet.lower(end))}"
            yield element("path", {"class": "flow", "d": down})


def _flow(sheet: _Sheet, start: Lane, end: Lane, x2: float) -> str:
    """Return a line from one place down to another, straight or as a smooth curve.

    It moves sideways only between the two ranks: a low box may have a tall one beside it.
    """
    x1, y1 = sheet.x(start), sheet.lower(start)
    leave = sheet.tops[start[1]] + sheet.heights[start[1]]
    y2 = sheet.upper(end)
    stop = y2 - (5 if sheet.is_box(end) else 0)
    arrive = min(sheet.tops[end[1]], stop)
    path = f"M{coordinate(x1)} {coordinate(y1)}"
    if abs(x1 - x2) >= 0.5:
        middle = coordinate((leave + arrive) / 2)
        path += f"V{coordinate(leave)}" if leave > y1 else ""
        path += f"C{coordinate(x1)} {middle} {coordinate(x2)} {middle} "
        path += f"{coordinate(x2)} {coordinate(arrive)}"
        path += f"V{coordinate(stop)}" if stop > arrive else ""
    else:
        path += f"V{coordinate(stop)}"
    head = _arrow_head(x2, y2) if sheet.is_box(end) else ""
    return element("path", {"class": "flow", "d": path}) + head


def _arrow_head(x: float, y: float, *, turned: bool = False) -> str:
    """Return a small triangle that points down to (x, y), or from the right to it."""
    place_text = f"M{coordinate(x)} {coordinate(y)}"
    shape = "l6 -3.5v7z" if turned else "l-3.5 -6h7z"
    return element("path", {"class": "head", "d": place_text + shape})


def _ports(sheet: _Sheet) -> dict[tuple[Lane, Lane], float]:
    """Return where each piece arrives: side by side, in the order of where they come from."""
    arriving: dict[Lane, list[Lane]] = {}
    for start, end in sheet.placement.segments:
        arriving.setdefault(end, []).append(start)
    ports: dict[tuple[Lane, Lane], float] = {}
    for end, starts in arriving.items():
        middle = sheet.x(end)
        ordered = sorted(starts, key=sheet.x)
        left = [s for s in ordered if sheet.x(s) <= middle - 1]
        right = [s for s in ordered if sheet.x(s) >= middle + 1]
        # Many arrows share the middle four fifths of the box's upper edge.
        step = min(PORT, 0.4 * MIN_WIDTH / max(len(left), len(right), 1))
        # One alone arrives in the middle; a straight one keeps the middle for itself.
        first = 0 if len(starts) == 1 else 1
        ports |= {(s, end): middle for s in ordered}
        ports |= {(s, end): middle - (i + first) * step for i, s in enumerate(reversed(left))}
        ports |= {(s, end): middle + (i + first) * step for i, s in enumerate(right)}
    return ports


def _upward(sheet: _Sheet) -> Iterator[str]:
    """Yield edges that close a cycle: dashed, up along the right side."""
    side = sheet.placement.width + 2 * MARGIN
    for i, (start, end) in enumerate(sheet.placement.upward):
        low, high = (start, sheet.placement.rank[start]), (end, sheet.placement.rank[end])
        x = side + 4 + 4 * (i % 4)
        right1, right2 = sheet.x(low) + sheet.width / 2, sheet.x(high) + sheet.width / 2
        y1 = sheet.lower(low) - sheet.height(low) / 3
        y2 = sheet.upper(high) + sheet.height(high) / 3
        path = f"M{coordinate(right1)} {coordinate(y1)}H{coordinate(x)}V{coordinate(y2)}"
        path += f"H{coordinate(right2 + 6)}"
        yield element("path", {"class": "flow back", "d": path})
        yield _arrow_head(right2, y2, turned=True)
