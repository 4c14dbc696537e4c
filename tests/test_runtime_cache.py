"""The cache of machine code: kept, damaged, unwritable, bounded; sharing between programs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chainrule.codegen.emitted import Emitted, Phase
from chainrule.codegen.target import Target, host
from chainrule.codegen.text import Module
from chainrule.core.dtype import float32
from chainrule.ir.expr import Axis, Buffer, Load, call, flat, index_of
from chainrule.ir.kernel import Contraction, Kernel, Launch, Loop, Plan, Store
from chainrule.runtime import cache, library, notice
from chainrule.runtime.executable import load

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    return tmp_path / "code"


@pytest.fixture
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has compiled."""
    for name in ("_entries", "_objects", "_addresses"):
        monkeypatch.setattr(library, name, {})


class Emitter:
    """Writes the kernel ``y[0] = number`` and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(
        self, module: Module, kernel: Kernel | Contraction, symbol: str, target: Target
    ) -> Emitted:
        self.asked.append(kernel.name)
        module.functions[symbol] = (
            f"define void @{symbol}(ptr %args, i64 %b, i64 %e) {{\n  ret void\n}}"
        )
        return Emitted((Phase(symbol, 3),), len(kernel.name))


def kernel(name: str) -> tuple[str, Kernel]:
    return name, Kernel(name, (), (), 1, ())


def forget() -> None:
    for known in (library._entries, library._objects, library._addresses):
        known.clear()


def compile_all(names: Sequence[str]) -> list[str]:
    """Compile kernels of these names; returns those that were emitted."""
    emitter = Emitter()
    code = library.compiled("p", [kernel(name) for name in names], host(), emitter)
    assert {name: code[name].workspace for name in names} == {name: len(name) for name in names}
    assert all(chunks == 3 for c in code.values() for _, chunks in c.phases)
    return emitter.asked


def test_an_entry_comes_back_as_it_was(folder: Path) -> None:
    cache.store("k", b"code")
    assert cache.fetch("k") == b"code"
    assert cache.fetch("other") is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "longer"])
def test_a_damaged_entry_is_removed_and_made_anew(folder: Path, damage: str) -> None:
    key = cache.key_of("kind", "text")
    made = []

    def make() -> bytes:
        made.append(1)
        return b"code" * 100

    cache.kept("kind", "text", make)
    path = folder / f"{key}.code"
    raw = path.read_bytes()
    flipped = bytes((raw[0], raw[1] ^ 1)) + raw[2:]
    path.write_bytes(
        {"cut": raw[:-1], "flipped": flipped, "empty": b"", "longer": raw + b"x"}[damage]
    )
    assert cache.fetch(key) is None
    assert not path.exists()
    assert cache.kept("kind", "text", make) == b"code" * 100
    assert cache.kept("kind", "text", make) == b"code" * 100
    assert len(made) == 2


def test_a_folder_that_cannot_be_made_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "file"))
    assert cache.kept("kind", "text", lambda: b"code") == b"code"
    assert cache.fetch(cache.key_of("kind", "text")) is None


def test_a_folder_that_cannot_be_written_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by permissions: root may write everywhere.
    def refuse(path: Path, content: bytes, *, durable: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cache, "write_atomic", refuse)
    assert cache.kept("kind", "text", lambda: b"code") == b"code"


def test_without_a_home_folder_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache.config, "cache_dir", homeless)
    assert cache.kept("kind", "text", lambda: b"code") == b"code"


def test_the_entries_used_longest_ago_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.config, "code_cache_bytes", lambda: 10_000)
    for n in range(9):
        cache.store(f"{n}", bytes(1000))
        os.utime(folder / f"{n}.code", (n, n))
    assert cache.fetch("0") is not None  # used just now
    cache.store("9", bytes(1000))
    left = {path.stem for path in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000
    assert {"0", "9", "8"} <= left
    assert "1" not in left


def test_a_limit_of_zero_switches_the_cache_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store("old", b"code")
    monkeypatch.setenv("CHAINRULE_CODE_CACHE_MB", "0")
    cache.store("k", b"code")
    assert cache.fetch("k") is None
    assert cache.fetch("old") is None


def test_a_key_depends_on_the_processor_and_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key_of("kind", "text")
    monkeypatch.setattr(cache.machine, "identity", lambda: "another processor")
    cache._surroundings.cache_clear()
    try:
        assert cache.key_of("kind", "text") != before
    finally:
        cache._surroundings.cache_clear()


@pytest.mark.usefixtures("_new_process")
def test_kernels_are_compiled_once_in_a_process() -> None:
    assert compile_all(["a", "b"]) == ["a", "b"]
    assert compile_all(["b", "c"]) == ["c"]
    assert compile_all(["a", "c"]) == []


@pytest.mark.usefixtures("_new_process")
def test_a_later_process_takes_all_kernels_from_the_cache(folder: Path) -> None:
    compile_all(["a", "b"])
    compile_all(["b", "c"])
    forget()
    assert compile_all(["b", "c"]) == []
    # The piece that holds b also held a.
    assert compile_all(["a", "b"]) == []


@pytest.mark.usefixtures("_new_process")
def test_damaged_kernels_are_compiled_again(folder: Path) -> None:
    compile_all(["a", "b"])
    forget()
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert compile_all(["a", "b"]) == ["a", "b"]
    forget()
    assert compile_all(["a", "b"]) == []


@pytest.mark.usefixtures("_new_process")
def test_many_kernels_are_compiled_in_several_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_MODULE_BYTES", 100)
    names = [f"k{n}" for n in range(7)]
    assert compile_all(names) == names
    assert len(library._objects) > 2
    forget()
    assert compile_all(names) == []


@pytest.mark.usefixtures("_new_process")
def test_a_dump_holds_the_kernels_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_DUMP", str(tmp_path / "dump"))
    compile_all(["a"])
    compile_all(["a"])  # although it is known
    texts = [path.read_text() for path in (tmp_path / "dump").glob("p.*.ll")]
    assert len(texts) == 2
    assert all("define void @k" in text for text in texts)


def doubled(size: int) -> Plan:
    """Return the plan ``y = x + x``."""
    a, b = Buffer("a", float32, size), Buffer("b", float32, size)
    x, y = Buffer("x", float32, size), Buffer("y", float32, size)
    i = Axis("i", size)
    where = flat((index_of(i),), (1,))
    store = Store(b, where, call("add", Load(a, (where,)), Load(a, (where,))))
    body = (Loop(i, (store,), vector=True),)
    add = Kernel("add", (a, b), (), 1, body, written=frozenset({b}))
    return Plan("double", (Launch(add, (x, y)),), (x,), (y,))


@pytest.mark.usefixtures("_new_process")
def test_code_from_the_cache_gives_the_same_bits(folder: Path) -> None:
    x = np.random.default_rng(1).standard_normal(37).astype(np.float32)
    results = []
    for _ in range(2):
        y = np.empty_like(x)
        assert load(doubled(37)).call([x, y]) == 0
        results.append(y)
        forget()
    assert len(list(folder.iterdir())) >= 1
    assert (results[0] == x + x).all()
    assert results[0].tobytes() == results[1].tobytes()


def test_two_processes_share_the_folder(folder: Path) -> None:
    text = """
    import numpy as np
    from chainrule.runtime.executable import load
    from test_runtime_cache import doubled
    x, y = np.arange(37, dtype=np.float32), np.zeros(37, np.float32)
    load(doubled(37)).call([x, y])
    print((y == 2 * x).all())
    """
    path = os.pathsep.join((str(HERE), *filter(None, sys.path)))
    command = [sys.executable, "-c", textwrap.dedent(text)]
    env = {**os.environ, "PYTHONPATH": path}
    both = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60) for process in both] == [(b"True\n", b"")] * 2


class Terminal(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("tty", "seconds", "shown"),
    [
        (True, 1.2, "\rcompiling step: 14 of 60 kernels, 1.2 s\x1b[K\r\x1b[K"),
        (True, 0.9, ""),
        (False, 5.0, ""),
    ],
)
def test_a_notice_is_shown_on_a_terminal_after_a_second(
    tty: bool, seconds: float, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((10.0, 10.0 + seconds))
    monkeypatch.setattr(notice.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(sys, "stderr", Terminal(tty))
    line = notice.Notice("compiling step", 60)
    line.show(14)
    line.clear()
    assert sys.stderr.getvalue() == shown
