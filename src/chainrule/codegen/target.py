"""Targets: what the processor can do.

Takes: LLVM's description of the host, and the settings. Gives: vector width and registers.
The one idea: code is generated for the widest vectors that the processor has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm


@dataclass(frozen=True, slots=True)
class Target:
    """A processor.

    Attributes:
        cpu: LLVM's name of it.
        vector_bytes: Bytes of a vector register (64, 32 or 16; 0: no vectors).
        registers: Number of vector registers.
        fma: Whether multiply and add are one instruction.
        half: Whether float16 and float32 are converted by an instruction.
    """

    cpu: str
    vector_bytes: int
    registers: int
    fma: bool
    half: bool = True

    def lanes(self, itemsize: int) -> int:
        """Return how many elements of a size a vector holds (at least 1)."""
        return max(self.vector_bytes // itemsize, 1)


@lru_cache(maxsize=1)
def host() -> Target:
    """Return this processor."""
    features = llvm.get_host_cpu_features()
    cpu = llvm.get_host_cpu_name()
    if all(features.get(f"avx512{part}") for part in ("f", "vl", "dq", "bw")):
        return Target(cpu, 64, 32, True)
    if features.get("avx2") and features.get("fma"):
        return Target(cpu, 32, 16, True, bool(features.get("f16c")))
    if features.get("neon"):
        return Target(cpu, 16, 32, True)
    if features.get("sse4.1"):
        return Target(cpu, 16, 16, False, False)
    return Target(cpu, 0, 16, False, False)
