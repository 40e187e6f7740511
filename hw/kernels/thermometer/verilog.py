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
        yield "  // f<i>_<n>: input i, in offset binary, is n or more. Where bit k of n is 1, the input's bit k and"
        yield "  // the bits below must reach it; where it is 0, one of them. Zeros at the end of n need no comparison."
    for (feature, code), name in reached.items():
        yield f"  logic {name};"
        yield f"  always_ff @(posedge clk) {name} <= {_reaches(feature * bits, bits, code, flips)};"
    yield ""
    for number, pair in enumerate(pairs):
        constant = "1'b1" if pair[1] == 0 else "1'b0"
        yield f"  assign y[{number}] = {reached.get(pair, constant)};"
    yield "endmodule"


def _reaches(first: int, bits: int, code: int, flips: bool) -> str:
    """Whether the number in the ``bits`` bits of x from ``first`` on is ``code`` or more, by its bits: a comparator
    would be a carry chain. ``flips``: the highest bit is that of two's complement."""
    low = (code & -code).bit_length() - 1
    text = ""
    for k in range(low, bits):
        bit = f"{'~' * (flips and k == bits - 1)}x[{first + k}]"
        joined = f"{bit} {'&' if code >> k & 1 else '|'} {text}"
        text = bit if k == low else joined if k == bits - 1 else f"({joined})"
    return text
