"""How kernels and their files are found, and what is said where something is missing."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest
from qonnx.core.datatype import DataType

from hw import kernels, plugins
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError
from hw.ir.kernel import Rtl
from hw.kernels.add.kernel import Add
from hw.kernels.calibration import separate
from hw.rtl.design import generate

TYPES = DataType["INT4"], DataType["INT4"]


def provide(monkeypatch, *points: tuple[str, str]) -> None:
    """Entry points of an installed package: names and values."""
    made = EntryPoints([EntryPoint(name, value, kernels.ENTRY_POINTS) for name, value in points])
    monkeypatch.setattr(plugins, "_group", lambda group, path: made if group == kernels.ENTRY_POINTS else ())


def test_every_folder_with_a_kernel_is_found():
    folders = {path.parent.name for path in Path(kernels.__file__).parent.glob("*/kernel.py")}
    assert set(kernels.names()) == folders
    assert all(kernels.get(name).op == name for name in folders)


def test_a_package_cannot_replace_a_kernel(monkeypatch):
    provide(monkeypatch, ("add", "other.kernel"))
    with pytest.raises(BitfabricError, match="provides a kernel add, which is built in; uninstall it"):
        kernels.get("add")


@pytest.mark.parametrize("classes", [(), ("A", "B")])
def test_a_module_holds_exactly_one_kernel(monkeypatch, classes):
    module = ModuleType("outside_kernels")
    for name in classes:
        setattr(module, name, type(name, (Add,), {"op": "outside", "__module__": module.__name__}))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    provide(monkeypatch, ("outside", module.__name__))
    assert "outside" in kernels.names()
    with pytest.raises(BitfabricError, match=f"outside_kernels holds {len(classes)} kernels with op = 'outside'"):
        kernels.get("outside")


def test_a_missing_file_is_named():
    with pytest.raises(BitfabricError, match=r"kernel add: no bf_none\.sv beside hw\.kernels\.add\.kernel"):
        kernels.source("bf_none.sv", Add)


class Generated(Add):
    """A sum in a module whose text is generated."""

    def rtl(self, family):
        made, width = super().rtl(family), self.outputs()[0].width
        text = kernels.source("bf_add.sv", Add).read_text().replace("module bf_add", "module own_add")
        return Rtl("own_add", made.parameters, sources={"own_add.sv": f"// {width} bits\n{text}"})


def test_generated_modules_are_files_of_the_design():
    kernel = Generated((4,), TYPES)
    design = generate(separate(kernel, kernel), ECP5)
    assert design.files["own_add.sv"].startswith("// 5 bits\n")
    assert "bf_add.sv" not in design.files
    assert "bf_stream_out.sv" in design.files
    assert "own_add #(" in design.files["accelerator.sv"]
    with pytest.raises(BitfabricError, match=r"kernel1: its own_add\.sv differs from that of another layer"):
        generate(separate(kernel, replace(kernel, coefficients=(1, 9))), ECP5)
