"""System: what native code takes from the processor and the operating system, as LLVM IR.

Takes: the target's triple. Gives: a clock, a hint for waiting loops, waiting for a word in memory.
The one idea: the only places that differ between systems, each with a choice that is always right.
"""

from __future__ import annotations

from chainrule.core.errors import StateError

_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "powerpc64le": 221}


def architecture(triple: str) -> str:
    """Return the processor's family as the parts below name it."""
    name = triple.partition("-")[0]
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


def can_sleep(triple: str) -> bool:
    """Return whether threads can wait for a word in memory to change; without it no workers."""
    return "darwin" in triple or "macos" in triple or _futex_number(triple) is not None


def _futex_number(triple: str) -> int | None:
    return _FUTEX.get(architecture(triple)) if "linux" in triple else None


def clock_text(triple: str) -> str:
    """Return IR of ``i64 @ticks()``, a clock that runs at a constant rate."""
    machine = architecture(triple)
    if machine == "x86_64":
        return """
declare i64 @llvm.readcyclecounter()
define i64 @ticks() nounwind alwaysinline {
  %t = call i64 @llvm.readcyclecounter()
  ret i64 %t
}
"""
    if machine == "aarch64":  # the register CNTVCT_EL0, by its encoding
        return """
declare i64 @llvm.read_volatile_register.i64(metadata)
define i64 @ticks() nounwind alwaysinline {
  %t = call i64 @llvm.read_volatile_register.i64(metadata !{!"3:3:14:0:2"})
  ret i64 %t
}
"""
    if "windows" in triple:
        raise StateError(f"compiled programs: no clock is known for {triple}")
    return """
declare i32 @clock_gettime(i32, ptr)
define i64 @ticks() nounwind {
  %time = alloca [2 x i64], align 16
  %status = call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time
  %rest = getelementptr i8, ptr %time, i64 8
  %nanoseconds = load i64, ptr %rest
  %whole = mul i64 %seconds, 1000000000
  %t = add i64 %whole, %nanoseconds
  ret i64 %t
}
"""


def relax(triple: str) -> tuple[str, str]:
    """Return a declaration and the call that tells the processor that this is a waiting loop."""
    machine = architecture(triple)
    if machine == "x86_64":
        return "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    if machine == "aarch64":
        return "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    return "", 'fence syncscope("singlethread") seq_cst'


def sleep_text(triple: str) -> str:
    """Return IR of ``@sleep_while(word, value)`` and ``@wake_all(word)``."""
    number = _futex_number(triple)
    if number is not None:  # FUTEX_WAIT and FUTEX_WAKE, private to the process
        return f"""
declare i64 @syscall(i64, ...)
define internal void @sleep_while(ptr %word, i32 %value) nounwind {{
  %s = call i64 (i64, ...) @syscall(i64 {number}, ptr %word, i64 128, i32 %value, ptr null)
  ret void
}}
define internal void @wake_all(ptr %word) nounwind {{
  %s = call i64 (i64, ...) @syscall(i64 {number}, ptr %word, i64 129, i64 2147483647)
  ret void
}}
"""
    if can_sleep(triple):  # UL_COMPARE_AND_WAIT; waking with ULF_WAKE_ALL
        return """
declare i32 @__ulock_wait(i32, ptr, i64, i32)
declare i32 @__ulock_wake(i32, ptr, i64)
define internal void @sleep_while(ptr %word, i32 %value) nounwind {
  %wide = zext i32 %value to i64
  %s = call i32 @__ulock_wait(i32 1, ptr %word, i64 %wide, i32 0)
  ret void
}
define internal void @wake_all(ptr %word) nounwind {
  %s = call i32 @__ulock_wake(i32 257, ptr %word, i64 0)
  ret void
}
"""
    return """
define internal void @sleep_while(ptr %word, i32 %value) nounwind {
  ret void
}
define internal void @wake_all(ptr %word) nounwind {
  ret void
}
"""
