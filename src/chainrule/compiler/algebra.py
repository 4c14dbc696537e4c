"""Algebra: instructions replaced by simpler ones of equal value.

Takes: a program. Gives: the program after the rules of `algebra_rules`, each applied wherever
it holds.
The one idea: a rule is a small function of one instruction and of what made its inputs; since
programs are rewritten from the first instruction on, inputs are in their simplest form already.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.compiler.algebra_rules import rules_of
from chainrule.compiler.program import Instruction, Program, Value
from chainrule.compiler.rewriting import Made, Rewriter, rewritten


def simplify(program: Program) -> Program:
    """Return a program of equal values (signed zeros, infinities and NaN included) in fewer steps.

    Instructions that are no longer read stay behind, for `remove_dead`.
    """
    return rewritten(program, _rewrite)


def _rewrite(instruction: Instruction, rewriter: Rewriter) -> Instruction | Value:
    """Return the instruction after all rules, or the value that it turned out to equal."""
    rules = rules_of(instruction.op)
    position = 0
    while position < len(rules):
        found = rules[position](instruction, rewriter)
        position += 1
        if isinstance(found, Value):
            return found
        if isinstance(found, Made):
            instruction = replace(instruction, op=found.op, inputs=found.inputs, attrs=found.attrs)
            # Another instruction now: its own rules, from the first on.
            rules, position = rules_of(found.op), 0
    return instruction
