"""Code: the source of an experiment, as a reader could run it.

Takes: an exploration. Gives: its imports, the constants it reads and its function, as text.
The one idea: what a page shows is read from the file that ran, so that it cannot differ; only
rooms of chainrule that a user does not import from are written as the public package.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from chainrule.explore.exploration import Exploration

# Sub-packages that users import from; everything else is in `chainrule` itself.
PUBLIC = ("nn", "optim", "data", "models", "train", "explore")


def shown_code(exploration: Exploration) -> str:
    """Return the code that made an exploration's numbers: it can be run as it stands."""
    module = inspect.getmodule(exploration.experiment)
    if module is None:
        raise ValueError(f"{exploration.name}: its experiment stands in no file")
    source = inspect.getsource(module)
    tree = ast.parse(source)
    wanted = {*exploration.constants, exploration.experiment.__name__}
    parts = [
        (ast.get_source_segment(source, node) or "", isinstance(node, ast.FunctionDef))
        for node in tree.body
        if wanted & _names_of(node)
    ]
    text = ""
    for part, is_function in parts:
        text += ("\n\n" if is_function else "") + _with_decorators(source, tree, part) + "\n"
    imports = _imports(tree, {node.id for node in _loads(ast.parse(text))})
    return f"{imports}\n{text}".replace("\n\n\n\n", "\n\n\n").strip() + "\n"


def _names_of(node: ast.stmt) -> set[str]:
    """Return what a statement at the top of a file defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def _with_decorators(source: str, tree: ast.Module, part: str) -> str:
    """Return a class with the decorators above it, which its segment does not hold."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and ast.get_source_segment(source, node) == part:
            marks = (ast.get_source_segment(source, mark) for mark in node.decorator_list)
            return "".join(f"@{mark}\n" for mark in marks) + part
    return part


def _loads(tree: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that run; those in annotations do not."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            note = getattr(node, name, None)
            if isinstance(note, ast.AST):
                skipped |= set(ast.walk(note))
    yield from (n for n in ast.walk(tree) if isinstance(n, ast.Name) and n not in skipped)


def _imports(tree: ast.Module, used: set[str]) -> str:
    """Return the imports that are used, those of inner rooms from the public package."""
    public: list[str] = []
    lines: list[str] = []
    others: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            lines += [
                ast.unparse(ast.Import([a])) for a in node.names if (a.asname or a.name) in used
            ]
        if not isinstance(node, ast.ImportFrom) or node.module in (None, "__future__"):
            continue
        kept = [alias for alias in node.names if (alias.asname or alias.name) in used]
        parts = node.module.split(".")
        if not kept:
            continue
        if parts[0] != "chainrule":
            lines.append(ast.unparse(ast.ImportFrom(node.module, kept, 0)))
        elif len(parts) > 1 and parts[1] in PUBLIC:
            others.append(ast.unparse(ast.ImportFrom(node.module, kept, 0)))
        else:
            public += [alias.name for alias in kept]
    if public:
        others.insert(0, f"from chainrule import {', '.join(sorted(public))}")
    blocks = ("from __future__ import annotations", "\n".join(lines), "\n".join(others))
    return "\n\n".join(block for block in blocks if block) + "\n"
