"""The rooms of the house: order of imports, sizes, forbidden constructions, read from source."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "chainrule"

# A file imports only from rooms further up in this list, or from its own room without cycles.
ROOMS = (
    *("core", "ir", "graph", "ops", "array_api", "linalg"),
    *("compiler", "codegen", "runtime"),
    *("testing", "nn", "optim", "data", "train", "models", "report", "explore", "cli"),
)
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

# What the core installs; these rooms import nothing else at the top of a file.
STANDARD_OR_CORE = {"numpy", "llvmlite", "chainrule"}
EXTRAS = {
    "jinja2",
    "PIL",
    "resvg_py",
    "pyarrow",
    "safetensors",
    "sklearn",
    "tqdm",
    "torch",
    "scipy",
}

# Imports of chainrule inside functions: only the public `__init__` may be lazy.
LAZY_FILES = {"__init__.py"}

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}

FILES = sorted(SOURCE.rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    parts = ["chainrule", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules that a statement imports; a submodule's full name where it is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        for alias in node.names:
            path = SOURCE.parent.joinpath(*base.split("."), alias.name)
            is_module = path.with_suffix(".py").exists() or path.is_dir()
            yield f"{base}.{alias.name}" if is_module else base


def is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree without the blocks that only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        if not is_type_checking(child):
            yield child
            yield from runtime_nodes(child)


def chainrule_imports(path: Path) -> set[str]:
    names = (name for node in runtime_nodes(tree_of(path)) for name in imported(node))
    return {name for name in names if name.split(".")[0] == "chainrule"}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_follow_the_room_order(path: Path) -> None:
    own = room_of(module_of(path))
    if own in ("", "__main__"):
        return  # the public `__init__` shows every room, `python -m` opens the front door
    assert own in ROOMS, f"{own} is not a known room"
    for name in chainrule_imports(path):
        room = room_of(name)
        assert room, f"{relative(path)} imports the public package, not a room"
        assert ROOMS.index(room) <= ROOMS.index(own), f"{relative(path)} imports later {name}"


def test_imports_have_no_cycles() -> None:
    graph = {module_of(path): chainrule_imports(path) - {module_of(path)} for path in FILES}
    # `from chainrule.x import y` runs chainrule/x/__init__.py first; a room's own `__init__`
    # may gather its files, so only edges between files count here.
    packages = {module_of(path) for path in FILES if path.name == "__init__.py"}
    files = {m: {d for d in deps if d not in packages} for m, deps in graph.items()}
    list(graphlib.TopologicalSorter(files).static_order())


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_file_is_short_and_opens_with_a_docstring(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    assert ast.get_docstring(tree_of(path)), "a file begins with what it is"
    if path.name == "__init__.py" and path.parent != SOURCE:
        words = ast.get_docstring(tree_of(path)) or ""
        for word in ("Takes:", "Gives:", "Next room:"):
            assert word in words


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_public_definitions_have_docstrings(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
        if isinstance(node, ast.Module):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                    if any(ast.unparse(d) == "overload" for d in item.decorator_list):
                        continue
                    assert ast.get_docstring(item), item.name


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_import_of_chainrule_inside_functions(path: Path) -> None:
    if relative(path) in LAZY_FILES:
        return
    for function in ast.walk(tree_of(path)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                for name in imported(node):
                    assert name.split(".")[0] != "chainrule", f"{function.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_extras_are_imported_where_they_are_used(path: Path) -> None:
    for node in tree_of(path).body:
        for name in imported(node):
            assert name.split(".")[0] not in EXTRAS, f"{name} is an extra"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_runs_data_as_code(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        for name in imported(node):
            assert name.split(".")[0] not in FORBIDDEN_MODULES, name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError(f"line {node.lineno}: shell=")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            value = node.value
            assert isinstance(value, ast.Constant), f"line {node.value.lineno}"
            assert value.value is False, f"line {node.value.lineno}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_signatures_are_explicit(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names)


def test_only_config_reads_the_environment() -> None:
    for path in FILES:
        if relative(path) == "core/config.py":
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                raise AssertionError(f"{relative(path)} line {node.lineno} reads the environment")
