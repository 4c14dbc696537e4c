"""Packing of panels: what their functions share."""

from __future__ import annotations

from chainrule.codegen.contraction_pack import Panel, write_pack
from chainrule.codegen.text import Function, Module


def test_transposed_panels_of_a_module_share_one_function() -> None:
    module = Module()
    for number, (columns, stride) in enumerate([(32, 100), (20, 7)]):
        f = Function(module, f"pack_{number}", ("ptr %source", "ptr %target"))
        write_pack(f, Panel("float", 16, columns, stride, ((64, 1),)), "%source", "%target")
        f.effect("ret void")
        f.finish()
    assert sorted(module.functions) == ["pack_0", "pack_1", "square_float_16"]
    assert all("shufflevector" not in module.functions[f"pack_{n}"] for n in range(2))
