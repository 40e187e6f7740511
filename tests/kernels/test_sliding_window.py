from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.buffer_size import fitted
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.timing.cycles import simulate
from tests.kernels.kernel_bench import alone, check, random_frames, synthesised


@st.composite
def kernels(draw, largest=6, channels=4, types=("BIPOLAR", "UINT2", "INT3", "TERNARY")):
    """Sliding windows of small shapes, in every parallelism."""
    axes = draw(st.integers(1, 2))

    def numbers(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    pad = tuple((draw(st.integers(0, k)), draw(st.integers(0, k))) for k in kernel) if draw(st.booleans()) else None
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    sides = pad or ((0, 0),) * axes
    spatial = [draw(st.integers(max(1, e - sum(p)), largest)) for e, p in zip(extents, sides, strict=True)]
    dtype = DataType[draw(st.sampled_from(types))]
    count = draw(st.integers(1, channels))
    value = (
        tuple(draw(st.integers(-9, 9)) for _ in range(count)) if draw(st.booleans()) else draw(st.sampled_from((0, 1)))
    )
    try:
        window = SlidingWindow((*spatial, count), kernel, dtype, stride, dilation, pad, pad_value=value)
    except BitfabricError as error:
        assume("padding alone" not in str(error))
        raise
    return window.fold(draw(st.sampled_from(window.foldings())))


def unfolded(window, frames):
    """The windows as torch sees them."""
    flat = (1,) * (3 - len(window.shape))
    x = torch.tensor(frames).double().movedim(-1, 1).reshape(len(frames), window.channels, *flat, *window.shape[:-1])
    (top, bottom), (left, right) = [(0, 0)] * len(flat) + list(window.pads)
    values = torch.tensor(window.pad_values).double().reshape(1, -1, 1, 1)
    x = torch.nn.functional.pad(x - values, (left, right, top, bottom)) + values
    columns = torch.nn.functional.unfold(
        x, (*flat, *window.kernel), dilation=(*flat, *window.spread), stride=(*flat, *window.steps)
    )
    columns = columns.reshape(len(frames), window.channels, -1, columns.shape[-1]).permute(0, 3, 2, 1)
    return columns.reshape(len(frames), *window.outputs()[0].shape).numpy().astype(int)


@settings(max_examples=60, deadline=None)
@given(kernels(largest=9), st.sampled_from([np.int8, np.int32, np.int64]), st.integers(0, 2**32))
def test_execute_equals_unfold(window, dtype, seed):
    frames = random_frames(window.inputs()[0], 3, np.random.default_rng(seed)).astype(dtype)
    expected = unfolded(window, frames)
    for given_frames in (frames, np.asfortranarray(frames)):
        (windows,) = window.execute(given_frames)
        assert windows.dtype == dtype
        np.testing.assert_array_equal(windows, expected)
    assert window.execute(frames[:0])[0].shape == (0, *window.outputs()[0].shape)


def test_padded_bipolar_is_ternary():
    window = SlidingWindow((4, 4, 2), (3, 3), DataType["BIPOLAR"], pad=((1, 1), (1, 1)))
    assert window.outputs()[0].dtype == DataType["TERNARY"]
    assert SlidingWindow((4, 4, 2), (3, 3), DataType["BIPOLAR"]).outputs()[0].dtype == DataType["BIPOLAR"]
    assert set(np.unique(window.execute(np.ones((1, 4, 4, 2), int))[0])) == {0, 1}


def test_padding_widens_the_output_only_where_the_type_does_not_hold_it():
    def made(dtype, value, pad=((1, 1), (1, 1))):
        return SlidingWindow((4, 4, 2), (3, 3), DataType[dtype], pad=pad, pad_value=value)

    for dtype, value, expected in (
        ("UINT8", 117, "UINT8"), ("UINT4", -3, "INT5"), ("UINT4", 16, "UINT5"), ("INT4", 8, "INT5"),
        ("BIPOLAR", -1, "BIPOLAR"), ("BIPOLAR", (1, -1), "BIPOLAR"), ("BIPOLAR", (1, 0), "TERNARY"),
        ("BIPOLAR", 3, "INT3"), ("TERNARY", 0, "TERNARY"), ("UINT2", (0, -1), "INT3"),
    ):  # fmt: skip
        assert made(dtype, value).out_dtype.name == expected
    assert made("UINT4", (5, 5)).pad_value == 5
    assert made("UINT4", -3, None).pad_value == 0
    assert made("UINT4", -3, None).out_dtype.name == "UINT4"


def test_foldings_are_parts_of_a_position_then_of_a_row_then_of_a_window_then_several_windows():
    window = SlidingWindow((8, 8, 6), (4, 3), DataType["INT4"])
    assert [(f.simd, f.pixels) for f in window.foldings()] == [
        *((simd, 1) for simd in (1, 2, 3, 6, 18, 36, 72)), *((72, n) for n in (2, 4, 8)),
    ]  # fmt: skip
    lanes = [(window.fold(f).inputs()[0].lanes, window.fold(f).outputs()[0].lanes) for f in window.foldings()]
    assert lanes == [(1, 1), (2, 2), (3, 3), (6, 6), (6, 18), (6, 36), (6, 72), (12, 72), (24, 144), (48, 432)]
    with pytest.raises(BitfabricError, match="pe=2"):
        window.fold(Folding(2, 1))


@settings(max_examples=100, deadline=None)
@given(kernels(largest=12))
def test_as_few_windows_at_a_time_as_keep_up(window):
    assume(window.pixels > 1)
    assert window.outputs()[0].beats <= window.inputs()[0].beats == prod(window.shape[:-1]) // window.pixels
    fewer = [n for n in range(1, window.windows_per_beat) if window.out_spatial[-1] % n == 0]
    assert all(prod(window.out_spatial) // n > window.inputs()[0].beats for n in fewer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simd": 4}, "simd=4 is no whole part of a window .3, 3. of 2 channels; legal: 1, 2, 6, 18"),
        ({"pixels": 3}, "pixels=3; legal here: 1, 2, 4, 8"),
        ({"pixels": 2}, "pixels=2 needs all of a position at a time, simd=18, not simd=1"),
        ({"shape": (2, 2, 2)}, "larger than the input .2, 2."),
        ({"kernel": (1, 1), "pad": ((9, 9), (0, 0)), "stride": (20, 1)}, "no window .* but padding alone"),
        ({"shape": (2,)}, "it must be"),
        ({"kernel": (3,)}, "kernel .3,.; it needs 2"),
        ({"stride": (0, 1)}, "stride .0, 1.; it needs 2 positive"),
        ({"pad": ((1, 1),)}, "pair"),
        ({"pad": ((1, -1), (0, 0))}, "numbers from 0"),
        (
            {"pad": ((1, 1), (0, 0)), "pad_value": (1, 2, 3)},
            "pad_value .1, 2, 3.; it needs one integer, or one for each of 2",
        ),
        ({"pad": ((1, 1), (0, 0)), "pad_value": -(1 << 40)}, "needs 41 bits; at most 32 fit"),
    ],
)
def test_bad_input(change, message):
    legal = {"shape": (8, 8, 2), "kernel": (3, 3), "dtype": DataType["UINT8"]}
    with pytest.raises(BitfabricError, match=message):
        SlidingWindow(**legal | change)


@settings(max_examples=10, deadline=None)
@given(kernels(), st.integers(0, 2**32))
def test_rtl_equals_model(window, seed):
    rng = np.random.default_rng(seed)
    check(alone(window), {"in0": random_frames(window.inputs()[0], 3, rng)}, rng)


@settings(max_examples=100, deadline=None)
@given(kernels(largest=12))
def test_interval_is_the_number_of_beats_in_or_out(window):
    beats = max(window.inputs()[0].beats, window.outputs()[0].beats)
    assert window.schedule().interval == beats
    assert simulate(alone(window), 8).interval == beats


def test_rtl_in_block_ram_and_several_banks():
    rng = np.random.default_rng(3)
    window = SlidingWindow((3, 140, 9), (2, 2), DataType["UINT2"], pad=((1, 0), (0, 1)), simd=18)
    assert window.block
    assert window.banks == 2
    check(alone(window), {"in0": random_frames(window.inputs()[0], 3, rng)}, rng)


def test_windows_after_a_layer_and_before_one():
    rng = np.random.default_rng(4)
    window = SlidingWindow((6, 5, 4), (3, 3), DataType["BIPOLAR"], pad=((1, 1), (1, 1)), simd=4)
    layer = MatrixVector(rng.choice([-1, 1], (6, 36)), window.dtype, window.out_dtype, (6, 5), 2, 4)
    graph = Graph(
        (Node("window", window, ("in0",), ("windows",)), Node("layer", layer, ("windows",), ("out0",))),
        (Port("in0", "in0", window.shape, "BIPOLAR"),),
        (Port("out0", "out0", layer.outputs()[0].shape, layer.accumulator_dtype.name),),
    )
    check(graph, {"in0": random_frames(window.inputs()[0], 3, rng)}, rng)
    assert simulate(graph, 6).interval == layer.schedule().interval == 30 * 27


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype", "pad", "simd"),
    [
        ((32, 32, 3), "UINT8", 0, 3), ((32, 32, 3), "UINT8", 1, 9), ((32, 32, 3), "UINT8", 1, 27),
        ((14, 14, 64), "BIPOLAR", 0, 32), ((14, 14, 64), "BIPOLAR", 1, 64), ((14, 14, 64), "BIPOLAR", 1, 192),
    ],
)  # fmt: skip
def test_full_rate_at_full_size(shape, dtype, pad, simd):
    rng = np.random.default_rng(5)
    window = SlidingWindow(shape, (3, 3), DataType[dtype], pad=((pad, pad),) * 2, simd=simd)
    beats = max(window.inputs()[0].beats, window.outputs()[0].beats)
    assert simulate(alone(window), 4).interval == beats
    check(alone(window), {"in0": random_frames(window.inputs()[0], 4, rng)}, rng)


@pytest.mark.slow
@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
@pytest.mark.parametrize(
    ("shape", "dtype", "pad", "simd", "bram"),
    [
        ((32, 32, 3), "UINT8", 1, 3, 1), ((32, 32, 3), "UINT8", 1, 9, 0), ((14, 14, 64), "BIPOLAR", 1, 64, 0),
        ((28, 28, 64), "UINT4", 0, 16, 2),
    ],
)  # fmt: skip
def test_synthesis_takes_what_the_model_says(shape, dtype, pad, simd, bram, family, tmp_path):
    window = SlidingWindow(shape, (3, 3), DataType[dtype], pad=((pad, pad),) * 2, simd=simd)
    used = synthesised(window, family, tmp_path)
    estimate = window.resources(family)
    assert (used.bram, used.dsp) == (estimate.bram, estimate.dsp) == (bram, 0)
    assert used.lut == pytest.approx(estimate.lut, rel=0.15)
    assert used.ff == pytest.approx(estimate.ff, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(kernels(largest=12))
def test_no_place_is_too_many(window):
    assume(not window.padded and prod(window.out_spatial) > window.windows_per_beat)
    least = fitted(window.buffer)
    object.__setattr__(window, "buffer", replace(least, places=least.places - 1))
    try:
        taken = simulate(alone(window), 24).taken["out0"]
    except BitfabricError:  # one place less, and the windows never come
        return
    half = len(taken) // 2
    assert taken[-1] - taken[-1 - half] > 12 * window.schedule().interval
