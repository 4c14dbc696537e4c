"""Library: the machine code of kernels in this process.

Takes: kernels. Gives: addresses of their phases, compiled at most once on this machine.
The one idea: kernels with equal fingerprints share their code, within a program, between
programs, and through the cache between processes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.codegen import machine
from chainrule.codegen.emitted import Emitted, Phase
from chainrule.codegen.target import Target
from chainrule.codegen.text import Module
from chainrule.core import config
from chainrule.core.files import write_atomic
from chainrule.ir.kernel import Contraction, Kernel
from chainrule.runtime import cache
from chainrule.runtime.assembler import Assembler
from chainrule.runtime.commands import Code
from chainrule.runtime.notice import Notice

Emit = Callable[[Module, Kernel | Contraction, str, Target], Emitted]

# Kernels are compiled together until their text is so long: what they share is compiled once in a
# module, but only while LLVM works on one module can the next one be written.
_MODULE_BYTES = 120_000


@dataclass(frozen=True, slots=True)
class _Entry:
    """A kernel's functions, and the digest of the object code that they are in."""

    emitted: Emitted
    object: str


_entries: dict[str, _Entry] = {}
_objects: dict[str, bytes] = {}
_addresses: dict[str, dict[str, int]] = {}
_serial = itertools.count()


def compiled(
    program: str, kernels: Sequence[tuple[str, Kernel | Contraction]], target: Target, emit: Emit
) -> dict[str, Code]:
    """Return the code of kernels by their names.

    Args:
        program: Name of the program, for people.
        kernels: Kernels, each with a name that two of them have only if they may share code.
        target: The processor.
        emit: What writes a kernel's LLVM IR.
    """
    with machine.lock:
        wanted = {digest_of(name, target): (name, kernel) for name, kernel in kernels}
        dumps = config.dump_dir() is not None
        if not dumps:
            _fetch(wanted)
        missing = [d for d in wanted if dumps or d not in _entries]
        if missing:
            _compile(program, [(d, wanted[d][1]) for d in missing], target, emit)
            cache.store(_key(wanted), _pack(wanted))
        return {name: _code(_entries[digest]) for digest, (name, _) in wanted.items()}


def kept(digests: Collection[str]) -> dict[str, Code] | None:
    """Return the code of kernels by their digests, or None if it is not all there."""
    with machine.lock:
        _fetch(digests)
        if any(digest not in _entries for digest in digests):
            return None
        return {digest: _code(_entries[digest]) for digest in digests}


def digest_of(name: str, target: Target) -> str:
    """Return what a kernel's code for a processor is kept under."""
    return hashlib.sha256(f"{target}\n{name}".encode()).hexdigest()


def _fetch(digests: Collection[str]) -> None:
    """Take over what the cache has for a program's kernels, if some of them are not known."""
    if any(digest not in _entries for digest in digests):
        _unpack(cache.fetch(_key(digests)))


def _key(digests: Iterable[str]) -> str:
    return cache.key_of("kernels", "\n".join(sorted(digests)))


def _compile(
    program: str, kernels: Sequence[tuple[str, Kernel | Contraction]], target: Target, emit: Emit
) -> None:
    """Compile kernels; while LLVM works on some of them, the text of the next ones is written."""
    notice = Notice(f"compiling {program}", len(kernels))
    # Contractions together: they share functions.
    order = sorted(kernels, key=lambda kernel: isinstance(kernel[1], Kernel))
    started: list[tuple[str, dict[str, Emitted]]] = []
    group: dict[str, Emitted] = {}
    module = Module()
    try:
        with Assembler() as assembler:
            for number, (digest, kernel) in enumerate(order, 1):
                group[digest] = emit(module, kernel, f"k{digest[:24]}", target)
                last = number == len(order)
                if last or _size(module) >= _MODULE_BYTES:
                    started.append((module.text, group))
                    assembler.add(module.text, last=last)
                    group, module = {}, Module()
            done = 0
            for text, finished in started:
                _keep(program, text, finished, assembler.next())
                done += len(finished)
                notice.show(done)
    finally:
        notice.clear()


def _size(module: Module) -> int:
    return sum(map(len, module.functions.values()))


def _keep(program: str, text: str, group: dict[str, Emitted], code: bytes) -> None:
    digest = hashlib.sha256(code).hexdigest()
    folder = config.dump_dir()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{program}.{next(_serial)}.ll", text.encode())
    _objects[digest] = code
    _entries.update((name, _Entry(emitted, digest)) for name, emitted in group.items())


def _code(entry: _Entry) -> Code:
    """Return the addresses of a kernel's functions, loading them if they are not yet."""
    if entry.object not in _addresses:
        inside = (e.emitted for e in _entries.values() if e.object == entry.object)
        symbols = {phase.symbol for emitted in inside for phase in emitted.phases}
        name = f"chainrule kernels {next(_serial)}"
        try:
            _addresses[entry.object] = machine.load(_objects[entry.object], symbols, name)
        except Exception:
            # Another program that shares some of them must not fail for the same reason.
            for key in [k for k, e in _entries.items() if e.object == entry.object]:
                del _entries[key]
            raise
    known = _addresses[entry.object]
    phases = tuple((known[phase.symbol], phase.chunks) for phase in entry.emitted.phases)
    return Code(phases, entry.emitted.workspace)


# --- what is kept on disk: a line of JSON, then object code --------------------------------------


def _pack(names: Iterable[str]) -> bytes:
    objects = sorted({_entries[name].object for name in names})
    # All kernels in the objects, so that whoever loads one finds all of them.
    kernels = {
        name: {
            "object": objects.index(entry.object),
            "phases": [[phase.symbol, phase.chunks] for phase in entry.emitted.phases],
            "workspace": entry.emitted.workspace,
        }
        for name, entry in _entries.items()
        if entry.object in objects
    }
    head = {"sizes": [len(_objects[digest]) for digest in objects], "kernels": kernels}
    return b"".join((json.dumps(head).encode(), b"\n", *(_objects[d] for d in objects)))


def _unpack(content: bytes | None) -> None:
    if content is None:
        return
    line, _, rest = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    digests = []
    for size in head["sizes"]:
        code, rest = rest[:size], rest[size:]
        digests.append(hashlib.sha256(code).hexdigest())
        _objects.setdefault(digests[-1], code)
    for name, entry in head["kernels"].items():
        phases = tuple(Phase(symbol, chunks) for symbol, chunks in entry["phases"])
        emitted = Emitted(phases, entry["workspace"])
        _entries.setdefault(name, _Entry(emitted, digests[entry["object"]]))
