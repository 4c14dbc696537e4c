"""Docstrings and formulas as Markdown.

Takes: a function or class. Gives: its section of a page.
The one idea: the docstring is the text; nothing is said twice.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

from docs.make.formulas import ACTIVATIONS, LOSSES, OPTIMIZERS, Formula, Rule
from docs.make.mathtext import latex

_HEADS = ("Args", "Returns", "Raises", "Attributes", "Yields", "Example", "Examples", "Note")
_HEAD = re.compile(rf"^({'|'.join(_HEADS)}|Source): ?(.*)$")
_ITEM = re.compile(r"^(\*{0,2}[\w, ]+?)(?: \(.*?\))?: (.*)$")


def section(name: str, paths: list[str], thing: Any) -> str:
    """Return the section of a function or class: signature, formula, docstring."""
    lines = [f"### {name}", "", "```text", *(_signatures(paths, thing)), "```", ""]
    formula = _formula(name)
    if formula:
        lines += [*formula, ""]
    return "\n".join([*lines, markdown(inspect.getdoc(thing) or ""), ""])


def _signatures(paths: list[str], thing: Any) -> list[str]:
    """Return how a thing is called, and the other places where it is found; without types."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return paths
    signature = inspect.signature(thing)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    shown = signature.replace(parameters=bare, return_annotation=signature.empty)
    return [f"{paths[0]}{shown}", *paths[1:]]


def _formula(name: str) -> list[str]:
    found = ACTIVATIONS.get(name) or LOSSES.get(name)
    if found is not None:
        letter = "f" if name in ACTIVATIONS else r"\ell"
        return _of_function(found, letter)
    return _of_rule(OPTIMIZERS[name]) if name in OPTIMIZERS else []


def _of_function(formula: Formula, letter: str) -> list[str]:
    argument = "(x)" if letter == "f" else "(x, t)"
    lines = [f"$${letter}{argument} = {latex(formula.value)}$$"]
    if formula.derivative:
        left = "f'(x)" if letter == "f" else r"\frac{\partial \ell}{\partial x}"
        lines += ["", f"$${left} = {latex(formula.derivative)}$$"]
    return lines + _letters({k: v for k, (v, _) in formula.settings.items()})


def _of_rule(rule: Rule) -> list[str]:
    lines = []
    for step in rule.steps:
        lines += [f"$${latex(step)}$$", ""]
    letters = {k: v.replace(".", "[") + "]" * ("." in v) for k, (v, _) in rule.settings.items()}
    return [*lines, "p: parameter, g: its gradient, k: number of the step.", *_letters(letters)]


def _letters(letters: dict[str, str]) -> list[str]:
    if not letters:
        return []
    said = ", ".join(f"${latex(letter)}$ = `{name}`" for letter, name in letters.items())
    return ["", f"with {said}."]


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: arguments as a list, examples as code."""
    blocks: list[tuple[str, list[str]]] = [("", [])]
    for line in docstring.splitlines():
        head = _HEAD.match(line)
        if head:
            blocks.append((head[1], [head[2]] if head[2] else []))
        else:
            blocks[-1][1].append(line)
    return "\n\n".join(filter(None, (_block(head, lines) for head, lines in blocks)))


def _block(head: str, lines: list[str]) -> str:
    text = textwrap.dedent("\n".join(lines)).strip("\n")
    if not text.strip():
        return ""
    if not head:
        return _plain(text)
    if head == "Source":
        return f"*{' '.join(text.split())}*"
    if head.startswith("Example"):
        return f"```python\n{text}\n```"
    if head in ("Args", "Raises", "Attributes"):
        title = {"Args": "Arguments", "Raises": "Errors"}.get(head, head)
        return f"**{title}**\n\n{_list(text)}"
    return f"**{head}** {' '.join(text.split())}"


def _plain(text: str) -> str:
    """Return prose; what is indented behind ``::`` is code."""
    return re.sub(r"::\n", ":\n", text)


def _list(text: str) -> str:
    items: list[str] = []
    for line in text.splitlines():
        found = None if line.startswith(" ") else _ITEM.match(line)
        if found:
            items.append(f"- `{found[1]}`: {found[2]}")
        elif items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line)
    return "\n".join(items)
