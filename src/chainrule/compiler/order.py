"""Order: which kernel runs after which.

Takes: groups, and which inputs' memory is taken over by outputs. Gives: the groups in order, and
the outputs that have to be copied at the end.
The one idea: the order of the program, except that whatever reads a parameter runs before the
kernel that updates it in place, and nothing of the caller's is written before all checks.
"""

from __future__ import annotations

import heapq

from chainrule.compiler.fuse import Fusion
from chainrule.compiler.nodes import Group
from chainrule.compiler.region_plans import has_checks, region_of
from chainrule.ir.expr import Ref


def ordered(fusion: Fusion) -> tuple[list[Group], set[Ref]]:
    """Return the groups in the order in which they run, and the outputs that are copied last."""
    groups = fusion.groups
    before: dict[int, set[int]] = {group.number: set() for group in groups}
    for group in groups:
        for ref in group.reads:
            inside = fusion.margins.get(ref, (None,))[0]
            for maker in (fusion.makers.get(ref), fusion.makers.get(inside) if inside else None):
                if maker is not None and maker is not group:
                    before[group.number].add(maker.number)
    wishes = _wishes(fusion)
    return _sorted(fusion, before, wishes)


def _wishes(fusion: Fusion) -> dict[int, dict[Ref, set[int]]]:
    """Return for each group and output which groups should run before it is written."""
    graph = fusion.graph
    readers: dict[Ref, set[int]] = {}
    overwritten = {ref for ref in graph.overwrites if ref is not None}
    for group in fusion.groups:
        for ref in overwritten.intersection(group.reads):
            readers.setdefault(ref, set()).add(group.number)
    checks = {fusion.makers[ref].number for ref, _, _ in graph.checks if ref in fusion.makers}
    checks.update(group.number for group in fusion.groups if _checks_inside(group))
    wishes: dict[int, dict[Ref, set[int]]] = {}
    for output, old in zip(graph.outputs, graph.overwrites, strict=True):
        maker = fusion.makers.get(output)
        if maker is not None:
            wanted = checks | (readers.get(old, set()) if old is not None else set())
            wishes.setdefault(maker.number, {})[output] = wanted - {maker.number}
            if maker.number in checks:  # the check can only be made after it was written
                wishes[maker.number][output] = wanted
    return wishes


def _checks_inside(group: Group) -> bool:
    region = region_of(group)
    return region is not None and any(map(has_checks, region.bodies))


def _sorted(
    fusion: Fusion, before: dict[int, set[int]], wishes: dict[int, dict[Ref, set[int]]]
) -> tuple[list[Group], set[Ref]]:
    groups = {group.number: group for group in fusion.groups}
    waits = {number: set(b) for number, b in before.items()}
    for number, outputs in wishes.items():
        for wanted in outputs.values():
            waits[number] |= wanted
    after: dict[int, list[int]] = {number: [] for number in groups}
    for number, wanted in waits.items():
        for other in wanted:
            after[other].append(number)
    done: set[int] = set()
    late: set[Ref] = set()
    keys = {number: group.order for number, group in groups.items()}
    ready = [(keys[n], n) for n in groups if not waits[n]]
    heapq.heapify(ready)
    result: list[Group] = []
    while len(result) < len(groups):
        if not ready:  # wishes are in a circle: give those of the first possible group up
            possible = [n for n in groups if n not in done and before[n] <= done]
            number = min(possible, key=lambda n: keys[n])
            waits[number].clear()
        else:
            number = heapq.heappop(ready)[1]
            if number in done:
                continue
        late |= {o for o, wanted in wishes.get(number, {}).items() if not wanted <= done}
        done.add(number)
        result.append(groups[number])
        for other in after[number]:
            waits[other].discard(number)
            if not waits[other] and other not in done:
                heapq.heappush(ready, (keys[other], other))
    return result, late
