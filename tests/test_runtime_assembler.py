"""The thread that assembles modules: order, errors, and how it ends."""

from __future__ import annotations

import threading
from functools import lru_cache

import pytest

from chainrule.codegen import machine
from chainrule.core.errors import StateError
from chainrule.runtime import native
from chainrule.runtime.assembler import Assembler


def text_of(number: int) -> str:
    """Return a module with one function, which gives a number."""
    return f"define i64 @f{number}() {{\n  ret i64 {number}\n}}\n"


def test_object_code_comes_in_the_order_of_the_texts() -> None:
    texts = [text_of(number) for number in range(5)]
    with Assembler() as assembler:
        for number, text in enumerate(texts):
            assembler.add(text, last=number == len(texts) - 1)
        made = [assembler.next() for _ in texts]
    assert made == [machine.assemble(text) for text in texts]


def test_a_single_module_begins_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", pytest.fail)
    with Assembler() as assembler:
        assembler.add(text_of(1), last=True)
        assert assembler.next() == machine.assemble(text_of(1))


def test_without_threads_modules_are_assembled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Assembler() as assembler:
        assembler.add(text_of(1))
        assert assembler.next() == machine.assemble(text_of(1))


def test_an_error_of_llvm_is_raised_where_the_code_is_wanted() -> None:
    with Assembler() as assembler:
        assembler.add("nonsense")
        assembler.add(text_of(2))
        with pytest.raises(RuntimeError, match="parsing"):
            assembler.next()
        assert assembler.next() == machine.assemble(text_of(2))


def test_an_error_of_the_caller_ends_the_thread_and_frees_llvm() -> None:
    def fail() -> None:
        with Assembler() as assembler:
            for number in range(50):
                assembler.add(text_of(number))
            raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert threading.active_count() == before
    taken = []

    def take() -> None:
        with machine.lock:
            taken.append(True)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert taken == [True]


def test_the_driver_is_made_beside_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    @lru_cache(maxsize=1)
    def driver() -> None:
        made.append(threading.current_thread().name)
        raise StateError("no driver for this processor")

    monkeypatch.setattr(native, "native", driver)
    with native.begun():
        pass
    assert made == ["chainrule driver"]
    with pytest.raises(StateError, match="no driver"):  # nobody misses why
        native.native()
