"""PyTorch, or where it is not installed a stand-in: files of references are read there too."""

from __future__ import annotations

import importlib
from typing import Any


class Missing:
    """Whatever is asked of a module that is missing; tests that would use it are skipped."""

    def __getattr__(self, name: str) -> Missing:
        return self


def module_or_missing(name: str) -> Any:
    """Return a module, or what stands for it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return Missing()


torch = module_or_missing("torch")
F = module_or_missing("torch.nn.functional")
