"""Machine code: LLVM IR in, object code out, and object code into the running process.

Takes: the text of a module. Gives: an object file's bytes; addresses of its functions.
The one idea: object code is plain bytes, so it can be kept and loaded again without LLVM's
optimiser.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

# In order. Vectors are explicit, so what is left is to keep loops' variables in registers: code
# generation folds addresses and finds repeated values just as well as "instruction_combine" and
# "simplify_cfg" do, which take a tenth of the time. Not "new_gvn": it breaks right code (and aborts
# where LLVM was built with assertions).
PASSES = ("sroa",)
# Of code generation: 1 to 3.
OPTIMISATION = 2

# LLVM is not safe to use from several threads at once.
lock = threading.RLock()
_loaded: list[Any] = []


@lru_cache(maxsize=1)
def target_machine() -> Any:
    """Return LLVM's code generator for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=_features(),
        opt=OPTIMISATION,
        reloc="pic",
        codemodel="small",
    )


def _features() -> str:
    features = llvm.get_host_cpu_features()
    text: str = features.flatten()
    # Some processors are said to prefer halves: our vectors are as wide as we mean them.
    return f"{text},-prefer-256-bit" if features.get("avx512f") else text


def identity() -> str:
    """Return what object code depends on besides its text: LLVM, the processor, the passes."""
    versions = ".".join(map(str, llvm.llvm_version_info)), llvmlite.__version__
    processor = llvm.get_process_triple(), llvm.get_host_cpu_name(), _features()
    return "\n".join((*versions, *processor, *PASSES, f"O{OPTIMISATION}"))


@lru_cache(maxsize=1)
def _linker() -> Any:
    return llvm.create_lljit_compiler(target_machine())


def assemble(text: str) -> bytes:
    """Return the object code of a module in LLVM's assembly language."""
    with lock:
        return assemble_locked(text)


def assemble_locked(text: str) -> bytes:
    """Do what `assemble` does; for a thread that works for the one which has the lock."""
    machine = target_machine()
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
    passes = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


def load(code: bytes, symbols: Iterable[str], name: str) -> dict[str, int]:
    """Load object code into this process, for good; returns the addresses of symbols.

    Args:
        code: What `assemble` returned.
        symbols: The functions that are wanted.
        name: A name that no other loaded code has.
    """
    with lock:
        wanted = list(symbols)
        library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        for symbol in wanted:
            library = library.export_symbol(symbol)
        tracker = library.link(_linker(), name)
        _loaded.append(tracker)
        return {symbol: tracker[symbol] for symbol in wanted}
