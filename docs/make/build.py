"""The build: every public name, gathered on the page of its family.

Takes: the package. Gives: the texts of the pages by file name.
The one idea: names are walked, not listed; what is public is documented.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from docs.make.comparison import comparison
from docs.make.pages import PAGES, Page, page_of
from docs.make.render import section

import chainrule

# Where users find names, by how they write them.
NAMESPACES = {
    "chainrule": "chainrule",
    "F": "chainrule.nn.functional",
    "nn": "chainrule.nn",
    "nn.init": "chainrule.nn.init",
    "nn.utils": "chainrule.nn.utils",
    "nn.utils.rnn": "chainrule.nn.utils.rnn",
    "optim": "chainrule.optim",
    "optim.lr_scheduler": "chainrule.optim.lr_scheduler",
    "optim.swa_utils": "chainrule.optim.swa_utils",
    "models": "chainrule.models",
    "chainrule.linalg": "chainrule.linalg",
}


def public() -> dict[int, tuple[Any, list[str]]]:
    """Return every public function and class once, with the ways to write it."""
    found: dict[int, tuple[Any, list[str]]] = {}
    for short, module in NAMESPACES.items():
        space = _namespace(module)
        names = getattr(space, "__all__", None) or [n for n in vars(space) if n[0] != "_"]
        for name in sorted(names):
            thing = getattr(space, name)
            if inspect.ismodule(thing) or not callable(thing):
                continue
            if not str(getattr(thing, "__module__", "")).startswith("chainrule."):
                continue
            found.setdefault(id(thing), (thing, []))[1].append(f"{short}.{name}")
    return found


def _namespace(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        # A namespace that is an attribute, not a file.
        parent, _, name = module.rpartition(".")
        return getattr(importlib.import_module(parent), name)


def pages() -> dict[str, str]:
    """Return all pages by file name.

    Raises:
        LookupError: A public name has no page.
    """
    sections: dict[Page, list[tuple[bool, str, str]]] = {page: [] for page in PAGES}
    for thing, paths in public().values():
        page = page_of(thing.__module__)
        if page is None:
            raise LookupError(f"{paths[0]} of {thing.__module__} has no page in docs/make/pages.py")
        name = paths[0].rpartition(".")[2]
        text = section(name, paths, thing)
        sections[page].append((inspect.isclass(thing), name.lower(), text))
    made = {f"{page.name}.md": _page(page, sorted(found)) for page, found in sections.items()}
    made["comparison.md"] = comparison()
    made["README.md"] = _index()
    return made


_NOTE = "<!-- written by `python -m docs.make` from the docstrings; do not edit -->"


def _page(page: Page, sections: list[tuple[bool, str, str]]) -> str:
    lines = [_NOTE, f"# {page.title}", "", page.words, ""]
    if page.picture:
        lines += [f"![{page.title}](../pictures/explore/{page.picture}.svg)", ""]
    for is_class, title in ((False, "Functions"), (True, "Classes")):
        texts = [text for kind, _, text in sections if kind is is_class]
        if texts:
            lines += [f"## {title}", "", *texts]
    return "\n".join(lines).rstrip() + "\n"


def _index() -> str:
    lines = [_NOTE, "# Reference", "", f"chainrule {chainrule.__version__}, page by page.", ""]
    lines += [f"- [{page.title}]({page.name}.md): {page.words}" for page in PAGES]
    lines += ["- [What is there, beside PyTorch, Keras and JAX](comparison.md)"]
    return "\n".join(lines) + "\n"
