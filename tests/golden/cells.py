"""Cells after synthesis: of small kernels, and of networks."""

from pathlib import Path

from tests.golden import product
from tests.golden.networks import NETWORKS
from tests.golden.record import as_text

QUICK = (
    "arg_max INT12 classes=10 PE=1",
    "width_converter INT12 4->1",
    "add UINT4+UINT4 (1, 1) C=16 PE=1",
)
KERNELS = (
    "matrix_vector BIPOLARxBIPOLAR 64x784 PE=1 SIMD=16",
    "matrix_vector INT2xUINT2 64x64 PE=2 SIMD=16",
    "matrix_vector INT8xINT8 64x144 PE=1 SIMD=1",
    "threshold INT8->UINT2 C=64 PE=2",
    "requant INT20->UINT8 M=12 C=32 PE=1",
    "sliding_window UINT8 (28, 28, 1) (5, 5) pad=0 SIMD=1",
    "depthwise INT8xUINT8 C=32 K=9 PE=1",
    "max_pool BIPOLAR (28, 28, 64) (2, 2) PE=4",
    "accumulate_pool UINT4 (8, 8, 8) (8, 8) PE=1",
    "concat UINT4 (8, 16) PE=4",
    "upsample INT8 (32, 32, 16) (2, 2) PE=4",
    "fork UINT2 copies=4 PE=4",
    "fifo UINT4x8 depth=16",
)
FEW = (KERNELS[2], KERNELS[3], KERNELS[5])
"""Those that are synthesised for every family."""
SMALL = ("ternary", "pixels")


def quick(folder: Path) -> dict[str, str]:
    """Three kernels that take seconds, on ECP5."""
    return {"cells/quick.json": _kernels(QUICK, "ecp5", folder)}


def family(name: str, folder: Path) -> dict[str, str]:
    """Kernels on one family."""
    return {f"cells/{name}.json": _kernels(KERNELS if name == "ecp5" else FEW, name, folder)}


def network(name: str, folder: Path) -> dict[str, str]:
    """A network's accelerator on ECP5."""
    model, target = folder / f"{name}.onnx", product.TARGETS[0]
    NETWORKS[name].make(model)
    found = product.cells_of_network(model, target, NETWORKS[name].asked(target), folder / "synthesis")
    return {f"cells/network-{name}.json": as_text(found)}


def _kernels(names: tuple[str, ...], of: str, folder: Path) -> str:
    known = product.kernels()
    return as_text({name: product.cells_of_kernel(known[name], of, folder / str(i)) for i, name in enumerate(names)})
