"""SystemVerilog of a thermometer: a comparator for each pair of feature and level."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.kernels.shared.pipeline import Stage, header, named


def stage(features: np.ndarray, codes: np.ndarray, channels: int, dtype: BaseDataType, about: str) -> Stage:
    """The bits x[features] >= codes, of inputs in offset binary, behind one register.

    ``features`` and ``codes`` are (B,); a code is 0 for a bit that is always 1, and 2^bits for one that never is.
    """
    text = "".join(f"{line}\n" for line in _lines(features, codes, channels, dtype))
    module, text = named("thermometer_stage", header(f"{about}. Latency: 1 cycle.") + text)
    return Stage(module, len(features), 1, {f"{module}.sv": text})


def _lines(features: np.ndarray, codes: np.ndarray, channels: int, dtype: BaseDataType) -> Iterator[str]:
    bits, count = dtype.bitwidth(), len(features)
    flips = dtype.signed() and dtype != DataType["BIPOLAR"]
    pairs = list(zip(features.tolist(), codes.tolist(), strict=True))
    reached = {pair: f"f{pair[0]}_{pair[1]}" for pair in sorted(set(pairs)) if 0 < pair[1] < 1 << bits}
    yield "`default_nettype none"
    yield ""
    yield "module NAME ("
    yield "    input  wire logic clk,"
    yield f"    input  wire logic [{channels * bits - 1}:0] x,  // {channels} of {dtype.name}"
    yield f"    output      logic [{count - 1}:0] y"
    yield ");"
    if reached:
        yield "  // f<i>_<n>: input i, in offset binary, is n or more. Zeros at the end of n need no comparison."
    for (feature, code), name in reached.items():
        low = (code & -code).bit_length() - 1
        part = f"x[{feature * bits + low}+:{bits - low}]"
        if flips:
            part = f"{part} ^ {bits - low}'d{1 << bits - low - 1}"
        yield f"  logic {name};"
        yield f"  always_ff @(posedge clk) {name} <= ({part}) >= {bits - low}'d{code >> low};"
    yield ""
    for number, pair in enumerate(pairs):
        constant = "1'b1" if pair[1] == 0 else "1'b0"
        yield f"  assign y[{number}] = {reached.get(pair, constant)};"
    yield "endmodule"
