"""What every kernel must hold, over the cases in its folder: a new kernel is checked by being there."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest

from hw import kernels
from hw.families import devices, families
from hw.families.ecp5 import ECP5
from hw.faults.soft_errors import SoftErrors
from hw.folding import finn_json, fmax
from hw.host.errors import BitfabricError
from hw.ir import html
from hw.ir.kernel import Kernel, Memory
from hw.kernels.calibration import separate
from hw.kernels.shared.chain import ChainKernel
from hw.passes.fold import apply_folding, current_folding
from hw.rtl.design import generate
from tests.kernels.kernel_bench import alone, check, gated, random_frames

FRAMES = 4


def cases(op: str) -> dict[str, Kernel]:
    return dict(kernels.cases(op).cases())


def frames_of(kernel: Kernel, rng: np.random.Generator, count: int = FRAMES) -> list[np.ndarray]:
    return [random_frames(stream, count, rng) for stream in kernel.inputs()]


def every_case() -> Iterator[tuple[str, Kernel]]:
    return ((f"{op}: {name}", kernel) for op in kernels.names() for name, kernel in cases(op).items())


every_kernel = pytest.mark.parametrize("op", kernels.names())


@every_kernel
def test_cases_and_grid_are_of_this_kernel_and_have_names(op):
    listed, grid = list(kernels.cases(op).cases()), list(kernels.cases(op).grid())
    assert len(listed) == len(cases(op)) > 1
    assert len(grid) == len(dict(grid)) > 0
    assert {type(kernel) for _, kernel in (*listed, *grid)} == {kernels.get(op)}
    assert all(name.startswith(f"{op} ") for name, _ in grid)


@every_kernel
def test_execute_is_the_definition(op):
    rng = np.random.default_rng(1)
    for name, kernel in cases(op).items():
        frames = frames_of(kernel, rng)
        results = kernel.execute(*frames)
        for y, expected, stream in zip(
            results, kernels.cases(op).definition(kernel, *frames), kernel.outputs(), strict=True
        ):
            assert y.shape == (FRAMES, *stream.shape), name
            assert y.min() >= stream.dtype.min(), name
            assert y.max() <= stream.dtype.max(), name
            np.testing.assert_array_equal(y, expected, err_msg=name)


@every_kernel
def test_rtl_equals_execute_and_schedule(op):
    """All cases in one design, without and with random stalls on both sides; the design passes the lint.

    No frame leaves early here (``test_exit`` has other verdicts): every port has as many frames.
    """
    rng, parts = np.random.default_rng(2), list(cases(op).values())
    frames = {f"s{n}_{i}": x for n, kernel in enumerate(parts) for i, x in enumerate(frames_of(kernel, rng))}
    frames |= {
        f"s{n}_{k.verdict}": 0 * frames[f"s{n}_{k.verdict}"] for n, k in enumerate(parts) if k.verdict is not None
    }
    check(separate(*parts), frames, rng)


def degenerate(kernel: Kernel) -> Iterator[Kernel]:
    """The kernel, and what the removal of channels may leave of it: inputs that never change, weights of zeros."""
    yield kernel
    given = {field.name for field in fields(kernel)}
    ends = [(int(stream.dtype.min()), int(stream.dtype.max())) for stream in kernel.inputs()]
    for only in ([0] * len(ends), [low for low, _ in ends], [high for _, high in ends]):
        ranges = tuple((value, value) for value in only)
        for name, value in (("input_range", ranges[0]), ("input_ranges", ranges)):
            if name in given:
                with suppress(BitfabricError):  # a range that the type does not have
                    yield replace(kernel, **{name: value})
    if "weights" in given:
        with suppress(BitfabricError, ValueError):
            yield replace(kernel, weights=np.zeros_like(vars(kernel)["weights"]))


@every_kernel
def test_no_cost_is_negative(op):
    for name, kernel in cases(op).items():
        for each in degenerate(kernel):
            foldings = each.foldings()
            for folding in foldings[:: max(1, len(foldings) // 6)]:
                folded = each.fold(folding)
                for family in families().values():
                    assert min(vars(folded.resources(family)).values()) >= 0, (name, folding, family.name)


@every_kernel
def test_no_path_of_gates_leads_through_a_kernel(op, tmp_path):
    design = generate(separate(*cases(op).values()), ECP5)
    found = gated(design, tmp_path)
    assert len(found) == len(design.inputs) + 2 * len(design.outputs) + design.parity
    assert {name: ports for name, ports in found.items() if ports} == {}


@every_kernel
def test_foldings_are_legal_and_change_no_result(op, tmp_path):
    rng = np.random.default_rng(3)
    for name, kernel in cases(op).items():
        frames, foldings = frames_of(kernel, rng, 2), kernel.foldings()
        expected = kernel.execute(*frames)
        assert kernel.folding in foldings, name
        assert len(set(foldings)) == len(foldings), name
        lowered = alone(kernel.fold(foldings[0]))
        order = [(f.pixels > 1, f.pe * f.simd, f.pixels) for f in foldings]
        assert order == sorted(order), name
        for folding in foldings:
            folded = kernel.fold(folding)
            assert (type(folded), folded.folding) == (type(kernel), folding), name
            assert folded.interval == folded.schedule().interval, name
            assert folded.schedule().interval >= max(s.beats for s in (*folded.inputs(), *folded.outputs())), name
            for y, result in zip(folded.execute(*frames), expected, strict=True):
                np.testing.assert_array_equal(y, result, err_msg=name)
            table = {"dut": folding}
            finn_json.save(table, tmp_path / "folding.json", lowered)
            assert finn_json.read(tmp_path / "folding.json", lowered).table == table


@every_kernel
def test_implementations_compute_the_same(op):
    rng = np.random.default_rng(4)
    for name, kernel in cases(op).items():
        among = {each.op: each for each in kernel.implementations()}
        assert len(among) == len(kernel.implementations())
        assert among[op] is kernel
        frames = frames_of(kernel, rng, 2)
        for each in among.values():
            assert {other.op for other in each.implementations()} == set(among), name
            for y, expected in zip(each.execute(*frames), kernel.execute(*frames), strict=True):
                np.testing.assert_array_equal(y, expected, err_msg=name)


@every_kernel
def test_cost_and_clock_are_known_for_every_family(op):
    placed = {device.family.name: device for device in devices().values() if device.routable}.values()
    assert len(placed) > 2
    for name, kernel in cases(op).items():
        for folding in kernel.foldings():
            folded = kernel.fold(folding)
            for family in families().values():
                used = folded.resources(family)
                assert all(isinstance(count, int) and count >= 0 for count in vars(used).values()), (name, family.name)
                assert used.lut > 0, (name, family.name)
        for device in placed:
            guess = fmax.estimate_fmax(alone(kernel), device)
            assert guess.mhz > 0, (name, device.name)
            assert not guess.uncalibrated or not kernels.is_builtin(op), (name, device.name)


@every_kernel
def test_parity_changes_neither_integers_nor_cycles(op):
    rng = np.random.default_rng(5)
    for name, kernel in cases(op).items():
        checked, frames = kernel.with_parity(), frames_of(kernel, rng, 2)
        for y, expected in zip(checked.execute(*frames), kernel.execute(*frames), strict=True):
            np.testing.assert_array_equal(y, expected, err_msg=name)
        assert (checked.schedule().latency, checked.interval) == (kernel.schedule().latency, kernel.interval), name
        for family in families().values():
            parameters = checked.rtl(family).parameters
            assert parameters.get("PARITY", 0) == int(checked.has_parity(family)), name


@every_kernel
def test_every_bit_of_a_memory_can_be_flipped(op):
    rng = np.random.default_rng(6)
    for name, kernel in cases(op).items():
        if kernel.has_parity(ECP5) or not (memories := kernel.rtl(ECP5).memories):
            continue
        errors, parts = SoftErrors(alone(kernel)), []
        for made in memories.values():
            parts += [made] if isinstance(made, Memory) else made
        assert errors.bits == sum(len(memory.words) * memory.width for memory in parts), name
        frames = frames_of(kernel, rng, 2)
        expected = kernel.execute(*frames)[0]
        bit = int(rng.integers(errors.bits))
        np.testing.assert_array_equal(errors.damaged([bit, bit]).nodes[0].kernel.execute(*frames)[0], expected)
        files, other = (generate(graph, ECP5).files for graph in (errors.graph, errors.damaged([bit])))
        changed = [file for file in files if files[file] != other[file]]
        assert len(changed) == 1, name
        assert changed[0].endswith(".hex"), name


def test_every_case_is_drawn():
    parts = [kernel for _, kernel in every_case()]
    drawn = html.table(separate(*parts))
    for op in kernels.names():
        assert f">{op.replace('_', ' ')}</span>" in drawn
        assert f".bf-{kernels.get(op).role}" in html.STYLE
    # The layers in chains have the same names in several cases.
    graph = separate(*(kernel for kernel in parts if not isinstance(kernel, ChainKernel)))
    assert apply_folding(graph, current_folding(graph)).edges == graph.edges
