"""The costs of the adders of constant matrices are those that Yosys counts."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

import hw
from hw.families import find_device
from hw.families.ecp5 import ECP5
from hw.kernels.constant_matrix.adders import Operand, adder_luts, bits, chain_bits, feed_luts, is_short
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.rtl.design import RtlDesign
from hw.synth.yosys import synthesise
from tests.families.ecp5_netlist import evaluate
from tests.kernels.kernel_bench import synthesised

CELLS = Path(hw.__file__).parent / "kernels" / "cells"
COUNT = 24


def adder(rng: np.random.Generator, arity: int) -> tuple[list[Operand], tuple[int, int]]:
    """Operands of an adder as plans have them, and the range of the sum."""
    operands = []
    for i in range(arity):
        width, signed = int(rng.integers(2, 8)), bool(rng.integers(0, 2))
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        operands.append(Operand(low, high, int(rng.integers(0, 4)), 1 if i == 0 or rng.integers(0, 2) else -1))
    least = min(o.shift for o in operands)
    operands = [o._replace(shift=o.shift - least) for o in operands]
    ends = [sorted((o.sign * o.low << o.shift, o.sign * o.high << o.shift)) for o in operands]
    return operands, (sum(e[0] for e in ends), sum(e[1] for e in ends))


def text(number: int, operands: list[Operand], result: tuple[int, int], short: bool) -> tuple[str, int]:
    """A module of one adder, and the bits of its inputs."""
    width, lines, at, ports = bits(*result), [], 0, []
    for name, o in zip("abc", operands, strict=False):
        size = bits(o.low, o.high)
        lines.append(f"  logic {'signed ' if o.low < 0 else ''}[{size - 1}:0] {name}; assign {name} = s[{at}+:{size}];")
        at += size
        ports.append((name, o, size))
    if len(operands) == 3 or (short and is_short(operands, result)):
        settings = ", ".join(
            f".{n.upper()}_BITS({size}), .{n.upper()}_SHIFT({o.shift}), .{n.upper()}_SIGNED({int(o.low < 0)})"
            + (f", .{n.upper()}_MINUS(1)" if o.sign < 0 else "")
            for n, o, size in ports
        )
        joined = ", ".join(f".{n}({n})" for n, _, _ in ports)
        cell = "ternary" if len(operands) == 3 else "short"
        lines.append(f"  bf_{cell}_adder #(.WIDTH({width}), {settings}) u ({joined}, .y);")
    else:
        parts = [f"({width}'({n}) << {o.shift})" for n, o, _ in ports]
        lines.append(f"  assign y = {parts[0]} {'-' if operands[1].sign < 0 else '+'} {parts[1]};")
    head = f"module m{number} (input wire logic [{at - 1}:0] s, output logic [{width - 1}:0] y);"
    return "\n".join((head, *lines, "endmodule\n")), at


@pytest.mark.parametrize(("name", "arities"), [("xc7z020", (2, 3)), ("lfe5u-85f", (2,)), ("ice40up5k", (2,))])
def test_costs_of_adders(name, arities, tmp_path):
    device, rng = find_device(name), np.random.default_rng(5)
    chosen = [adder(rng, arities[i % len(arities)]) for i in range(COUNT)]
    modules, body, entering, leaving = [], [], 0, 0
    for i, (operands, result) in enumerate(chosen):
        module, size = text(i, operands, result, short=len(arities) == 1)
        modules.append(module)
        body.append(f"  m{i} u{i} (.s(s[{entering}+:{size}]), .y(y[{leaving}+:{bits(*result)}]));")
        entering, leaving = entering + size, leaving + bits(*result)
    top = f"module top (input wire logic [{entering - 1}:0] s, output logic [{leaving - 1}:0] y);"
    files = {f"{c}.sv": (CELLS / f"{c}.sv").read_text() for c in ("bf_ternary_adder", "bf_short_adder")}
    source = "\n".join((*modules, top, *body, "endmodule\n"))
    made = synthesise(RtlDesign("top", {}, {}, {**files, "top.sv": source}), device, tmp_path)
    costs = [adder_luts(o, r, device.family) for o, r in chosen]
    # Yosys does not count what place and route adds to a carry chain.
    expected = sum(costs) - sum(feed_luts(chain_bits(o, r), device.family) for o, r in chosen)
    most = 0.03
    if not device.family.chain_inverts:  # the inverter of a highest bit is part of its table
        most = 0.05
        expected += sum(bits(o.low, o.high) for each, r in chosen if not is_short(each, r) for o in each if o.sign < 0)
    assert abs(made.resources.lut - expected) <= most * expected, (made.resources.lut, expected, made.cells)
    if device.family == ECP5:
        check_sums(json.loads(made.netlist.read_text())["modules"]["top"], chosen, rng)


def check_sums(module: dict, chosen: list[tuple[list[Operand], tuple[int, int]]], rng: np.random.Generator) -> None:
    """The netlist computes the sums."""
    taken, given = iter(module["ports"]["s"]["bits"]), iter(module["ports"]["y"]["bits"])
    inputs, expected, found = {}, [], []
    for operands, result in chosen:
        total = np.zeros(500, np.int64)
        for o in operands:
            x = rng.integers(o.low, o.high, len(total), endpoint=True)
            inputs |= {bit: x >> i & 1 for i, bit in enumerate(islice(taken, bits(o.low, o.high)))}
            total += o.sign * (x << o.shift)
        expected += [total >> i & 1 for i in range(bits(*result))]
        found += list(islice(given, bits(*result)))
    values = evaluate(module, inputs)
    np.testing.assert_array_equal([values[bit] for bit in found], expected)


@pytest.mark.parametrize("data", ["INT3", "TERNARY", "BIPOLAR"])
def test_bits_that_never_change_are_not_in_the_output_buffer(data):
    """Over all inputs of both signs; the parity of sums of +-1 is no bit that synthesis finds, and is not counted."""
    rng, dtype = np.random.default_rng(3), DataType[data]
    weights = rng.integers(-7, 8, (12, 3))
    weights[:3], weights[3:6] = 0, weights[3:6] & -4
    kernel = ConstantMatrix(MatrixVector(weights, DataType["INT4"], dtype))
    values = [v for v in range(int(dtype.min()), int(dtype.max()) + 1) if dtype.allowed(v)]
    x = np.stack(np.meshgrid(*[values] * 3), axis=-1).reshape(-1, 3)
    (y,) = kernel.execute(x.astype(np.int8))
    stream = kernel.outputs()[0]
    changing = np.bitwise_or.reduce(y.astype(np.int64) ^ y[:1], axis=0) & (1 << stream.dtype.bitwidth()) - 1
    constant = stream.width - int(np.bitwise_count(changing).sum())
    assert kernel.constant_bits == (3 * stream.dtype.bitwidth() if data == "BIPOLAR" else constant)
    assert kernel.buffered == stream.width - kernel.constant_bits >= stream.width - constant


@pytest.mark.parametrize(("mh", "mw", "data"), [(12, 16, "UINT4"), (4, 6, "INT16"), (20, 1, "UINT8")])
def test_inverters_and_output_buffers_of_ice40(mh, mw, data, tmp_path):
    """Of equal rows, rows of different ranges, and many that are subtracted."""
    rng = np.random.default_rng(mh)
    weights = rng.integers(-31, 32, (mh, mw))
    weights[1::4] = weights[::4]
    kernel = ConstantMatrix(MatrixVector(weights, DataType["INT6"], DataType[data]), adders_per_stage=2)
    family = find_device("ice40up5k").family
    made, estimate = synthesised(kernel, family, tmp_path), kernel.resources(family)
    assert abs(estimate.lut - made.lut) <= 0.1 * made.lut
    assert abs(estimate.ff - made.ff) <= 0.2 * made.ff  # synthesis finds more bits of single inputs that are equal
