from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType
from qonnx.custom_op.general.quant import resolve_rounding_mode

from hw.families import families, find_family
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding
from hw.ir.stream import container
from hw.kernels.requant.kernel import ROUNDING, Requant
from tests.kernels.kernel_bench import alone, check, check_foldings, check_resources, random_frames

INPUTS = ["BIPOLAR", "TERNARY", "UINT1", "INT3", "UINT9", "INT20", "UINT27", "INT40"]
OUTPUTS = [
    ("INT8", -127, 127),
    ("INT8", -128, 127),
    ("UINT8", 0, 255),
    ("UINT9", 3, 300),
    ("INT16", -(2**15), 2**15 - 1),
    ("TERNARY", -1, 1),
    ("UINT1", 0, 1),
    ("INT4", 0, 7),
    ("INT9", -200, -5),
]


def rounded(value: Fraction, mode: str) -> int:
    """The nearest integers and their choice, by definition."""
    below, above = floor(value), ceil(value)
    away, inward = (above, below) if value >= 0 else (below, above)
    if mode in ("CEIL", "FLOOR", "UP", "DOWN"):
        return {"CEIL": above, "FLOOR": below, "UP": away, "DOWN": inward}[mode]
    if value - below != above - value:
        return below if value - below < above - value else above
    return {"HALF_UP": away, "HALF_DOWN": inward, "ROUND": below + below % 2 if below != above else below}[mode]


def naive(kernel: Requant, frames: np.ndarray) -> np.ndarray:
    """The definition, in fractions."""
    y = np.empty(frames.shape, np.int64)
    for index in np.ndindex(frames.shape):
        channel = index[-1]
        value = int(frames[index]) * int(kernel.multiplier[channel]) + int(kernel.addend[channel])
        y[index] = min(max(rounded(Fraction(value, 2**kernel.shift), kernel.rounding), kernel.low), kernel.high)
    return y


@st.composite
def kernels(draw, most_bits=40, groups=(1, 4), prefixes=((), (2,))):
    """A Requant of random parameters, from shift only to 40 by 32 bits, and frames that fall within its range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = DataType[draw(st.sampled_from([n for n in INPUTS if DataType[n].bitwidth() <= most_bits]))]
    output, low, high = draw(st.sampled_from(OUTPUTS))
    pe = draw(st.integers(1, 3))
    channels = pe * draw(st.integers(*groups))
    bits = draw(st.sampled_from([0, 0, 3, 12, 17, 31]))
    multiplier = rng.integers(-(2**bits) + 1, 2**bits, channels, endpoint=True)
    if bits == 0:
        spread, signs = draw(st.sampled_from([(0, [1]), (0, [1, -1]), (2, [1]), (3, [1, -1])]))
        exponent = rng.integers(0, spread, channels, endpoint=True) + draw(st.integers(0, 5))
        multiplier = rng.choice(signs, channels) << exponent
    elif draw(st.booleans()):
        multiplier[:] = multiplier[0]
    # The shift leaves some steps more than the output has, so that most values are within it or just beyond.
    span = max(int(abs(multiplier).max()), 1) * (int(dtype.max()) - int(dtype.min())) // (high - low + 1)
    shift = max(0, span.bit_length() + draw(st.integers(-2, 1)))
    most = 2 ** min(shift, 61)
    addend = rng.integers(-most, most, channels, endpoint=True) if draw(st.booleans()) else multiplier * 0
    if shift > 0 and draw(st.booleans()):
        addend = addend >> min(shift - 1, 60) << min(shift - 1, 60)
    mode = draw(st.sampled_from(ROUNDING))
    prefix = draw(st.sampled_from(prefixes))
    return Requant(multiplier, addend, shift, mode, dtype, DataType[output], low, high, prefix, pe)


def interesting(kernel: Requant, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random frames, half of which land on, or next to, a tie or an integer."""
    dtype = kernel.input_dtype
    frames = random_frames(kernel.inputs()[0], count, rng)
    if dtype.name == "BIPOLAR":
        return frames
    steps = rng.integers(2 * kernel.low - 3, 2 * kernel.high + 3, frames.shape, endpoint=True)
    near = np.empty(frames.shape, np.int64)
    for index in np.ndindex(frames.shape):
        m, a = int(kernel.multiplier[index[-1]]), int(kernel.addend[index[-1]])
        target = Fraction(int(steps[index]) * 2**kernel.shift, 2) - a
        near[index] = min(max(round(target / m) if m else 0, int(dtype.min())), int(dtype.max()))
    near = near + rng.integers(-1, 1, frames.shape, endpoint=True)
    frames = np.where(rng.random(frames.shape) < 0.5, near, frames)
    return np.clip(frames, int(dtype.min()), int(dtype.max()))


SHIFTS = Requant(
    np.array([-4, 16, 32, 8, 4, -32]), np.array([3, 0, -77, 5, 1, 64]), 9, "ROUND", DataType["INT20"],
    DataType["INT9"], -200, 255, (), 2,
)  # fmt: skip
WIRES = replace(SHIFTS, pe=6, rounding="HALF_UP", multiplier=np.array([-4, 16, 512, 1, 4, -64]))
SCALED = replace(SHIFTS, multiplier=np.full(6, 64), rounding="DOWN")


@settings(max_examples=6, deadline=None)
@given(kernels(), st.integers(0, 2**32))
@example(SHIFTS, 0)
@example(WIRES, 1)
@example(SCALED, 2)
def test_rtl_equals_model(kernel, seed):
    rng = np.random.default_rng(seed)
    check(alone(kernel), {"in0": interesting(kernel, 10, rng)}, rng)


def wide(rng: np.random.Generator, mode: str) -> Requant:
    """Parameters as BatchNorm behind 16-bit weights needs them: sums of 70 to 80 bits."""
    shift = int(rng.integers(54, 62))
    multiplier = rng.integers(2**34, 2 ** int(rng.integers(36, 43)), 3) * rng.choice([-1, 1], 3)
    addend = np.array([int(value) << shift - 2 for value in rng.integers(-(2**17), 2**17, 3)], object) + 1
    return Requant(multiplier, addend, shift, mode, DataType["INT40"], DataType["INT16"], -(2**15), 2**15 - 1)


@pytest.mark.parametrize("mode", ROUNDING)
def test_sums_beyond_64_bits(mode):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        kernel = wide(rng, mode)
        assert kernel.arithmetic.sum_bits > 64
        frames = interesting(kernel, 100, rng)
        np.testing.assert_array_equal(kernel.execute(frames)[0], naive(kernel, frames))


def test_rtl_of_sums_beyond_64_bits():
    rng = np.random.default_rng(0)
    kernel = wide(rng, "ROUND")
    check(alone(kernel), {"in0": interesting(kernel, 10, rng)}, rng)


def test_rtl_rounds_ties_in_every_mode():
    """Sums in quarters, from well below to well above the range; and in halves."""
    x, ones = np.arange(-64, 64), np.ones(128, int)
    frames = np.stack([x, x[::-1]])
    kernels = {
        f"{mode}_{shift}": Requant(
            ones, 0 * ones, shift, mode, DataType["INT7"], DataType["INT4"], -7, 7, (), 8 if shift == 2 else 1
        )
        for mode, shift in [*((mode, 2) for mode in ROUNDING), ("ROUND", 1), ("HALF_UP", 1), ("HALF_DOWN", 1)]
    }
    graph = Graph(
        tuple(Node(name, kernel, (f"x_{name}",), (f"y_{name}",)) for name, kernel in kernels.items()),
        tuple(Port(f"x_{name}", f"x_{name}", (128,), "INT7") for name in kernels),
        tuple(Port(f"y_{name}", f"y_{name}", (128,), "INT4") for name in kernels),
    )
    results = {name: kernel.execute(frames)[0] for name, kernel in kernels.items()}
    for name, kernel in kernels.items():
        np.testing.assert_array_equal(results[name], naive(kernel, frames))
    assert len({y.tobytes() for y in results.values()}) == len(results)
    check(graph, {f"x_{name}": frames for name in kernels}, np.random.default_rng(0))


@settings(max_examples=150, deadline=None)
@given(kernels(prefixes=((), (3,), (2, 1))), st.integers(0, 2**32))
def test_execute_equals_definition(kernel, seed):
    frames = interesting(kernel, 8, np.random.default_rng(seed)).astype(container(kernel.input_dtype))
    (y,) = kernel.execute(frames)
    assert y.dtype == container(kernel.output_dtype)
    np.testing.assert_array_equal(y, naive(kernel, frames))


@pytest.mark.parametrize("mode", [*ROUNDING, "HALF_EVEN"])
def test_modes_are_those_of_qonnx(mode):
    x = np.arange(-300, 300).reshape(-1, 1)
    kernel = Requant(np.array([3]), np.array([5]), 4, mode, DataType["INT10"], DataType["INT8"], -128, 127)
    np.testing.assert_array_equal(kernel.execute(x)[0], resolve_rounding_mode(mode)((3 * x + 5) / 16))


def test_numbers_beyond_64_bits():
    dtype = DataType["INT40"]
    x = np.array([[-(2**39)], [2**39 - 1], [12345], [-12345]])
    m, a = 2**45 + 1, -(2**60) + 3
    kernel = Requant(np.array([m]), np.array([a]), 70, "ROUND", dtype, DataType["INT20"], -(2**19), 2**19 - 1)
    np.testing.assert_array_equal(kernel.execute(x)[0], naive(kernel, x))


@settings(max_examples=30, deadline=None)
@given(kernels(), st.sampled_from(sorted(families())))
def test_folding_keeps_the_function(kernel, family):
    check_foldings(kernel, interesting(kernel, 4, np.random.default_rng(0)), find_family(family))


@pytest.mark.parametrize(
    ("multipliers", "addends", "pe", "code"),
    [
        ((8, 8, 8, 8), (8, 0, -16, 24), 1, 0),
        ((8, 8, 8, 8), (1, 0, -16, 24), 1, 0),
        ((8, -8, 8, -8), (1, 0, -16, 24), 1, 1),
        ((8, 16, 32, 64), (1, 0, -16, 24), 2, 3),
        ((-2, 64, 4096, 2), (1, 0, -16, 24), 4, 5),
        ((4, 64, 4, 4), (1, 0, -16, 24), 1, None),
        ((4, 60, 4, 4), (0, 0, 0, 0), 1, None),
    ],
)
def test_no_multiplier_where_shifts_will_do(multipliers, addends, pe, code):
    dtype, out = DataType["INT20"], DataType["INT9"]
    kernel = Requant(np.array(multipliers), np.array(addends), 7, "ROUND", dtype, out, -256, 255, (), pe)
    for family in families().values():
        used, parameters = kernel.resources(family), kernel.rtl(family).parameters
        assert (used.dsp > 0) == (code is None and family.dsp_bits is not None)
        assert code is None or parameters["M_BITS"] == code
    x = interesting(kernel, 200, np.random.default_rng(pe))
    np.testing.assert_array_equal(kernel.execute(x)[0], naive(kernel, x))


@pytest.mark.parametrize("mode", ROUNDING)
def test_addends_finer_than_the_products(mode):
    """All there is around every tie and integer, addends of all finenesses."""
    x = np.arange(-128, 128)[:, None]
    for multiplier, addends, shift in ((32, range(-70, 70), 6), (-32, range(-70, 70), 5), (96, range(32), 8),
                                       (16, range(-5, 40), 2), (16, range(-5, 5), 0)):  # fmt: skip
        for addend in addends:
            numbers = np.array([multiplier]), np.array([addend])
            kernel = Requant(*numbers, shift, mode, DataType["INT8"], DataType["INT12"], -2048, 2047)
            np.testing.assert_array_equal(kernel.execute(x)[0], naive(kernel, x), err_msg=f"{addend}")


def test_bad_parameters():
    good = Requant(np.array([3, 5]), np.array([0, 1]), 4, "ROUND", DataType["INT9"], DataType["INT4"], -8, 7)
    for change, message in [
        ({"rounding": "STOCHASTIC"}, "no rounding mode STOCHASTIC; there are ROUND, HALF_UP"),
        ({"addend": np.zeros(3, int)}, "one multiplier and addend a channel"),
        ({"multiplier": np.array([0.5, 1])}, "integers"),
        ({"shift": -1}, "0 to 200"),
        ({"high": 8}, r"-8\.\.8 in INT4"),
        ({"low": 8}, r"8\.\.7 in INT4"),
        ({"pe": 3}, "PE 3 does not divide 2 channels; use one of 1, 2"),
        ({"output_dtype": DataType["BIPOLAR"]}, "use a threshold for BIPOLAR"),
        ({"input_dtype": DataType["FLOAT32"]}, "FLOAT32"),
    ]:
        with pytest.raises(BitfabricError, match=message):
            replace(good, **change)
    with pytest.raises(BitfabricError, match="no SIMD"):
        good.fold(Folding(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("family", families().values(), ids=families())
@pytest.mark.parametrize(("bits", "factor", "channels"), [(16, 12, 2), (30, 24, 2), (24, 0, 2), (24, 16, 600)])
def test_blocks_and_multipliers_as_estimated(tmp_path, family, bits, factor, channels):
    rng = np.random.default_rng(1)
    multiplier = rng.integers(1 << max(factor - 2, 0), 1 << max(factor - 1, 0), channels, endpoint=True)
    addend = rng.integers(-(1 << bits), 1 << bits, channels)
    output = DataType["INT12"]
    kernel = Requant(multiplier, addend, bits, "ROUND", DataType[f"INT{bits}"], output, -2048, 2047)
    check_resources(kernel, family, tmp_path, 0.25)
