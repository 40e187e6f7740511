"""The estimated Fmax against place and route: kernels between two FIFOs, to which it is fitted, and whole networks.

What was placed is kept in ``tests/measured/clocks/*.csv``; only what is not there yet is placed, seed 1, at the
device's default clock. ``--renew`` places what is asked for again, as after a change of the hardware or of the tools.
``--fit`` fits the periods of the paths in kernels again and writes ``hw/families/F/calibration.csv`` (for a family of
another package ``build/bench/F_calibration.csv``). Networks that are one pipeline, larger than the kernels of the grid,
tell how periods grow (``tests/measured/clocks/pipelines.csv``). It does not fit ``shell_ns``, ``room``, ``with_bram``
and ``grades`` of the ``FmaxModel``: these were found by hand, from whole networks and a few kernels.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import report
from hw.boards.image import SCOPE, image
from hw.boards.targets import Target, find_target
from hw.fabric.family import Family
from hw.fabric.fmax import Calibration, Period
from hw.families import families, find_family, reference_device, spec_of
from hw.folding import fmax
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.kernels.calibration import grid
from hw.kernels.fifo.kernel import Fifo
from hw.rtl.design import generate
from hw.synth.nextpnr import instance_in_name, place_and_route
from hw.synth.yosys import synthesise
from tests.measured import clocks
from tests.measured.clocks import Pipeline, Placed
from tests.measured.table import Table, error

SHARE = 0.15
"""Of a device's lookup tables or flip-flops, what a kernel of the grid may take to be placed."""


def place(target: Target, case: str, table: str, hardware: Graph) -> Placed:
    """Place a design, in the board's image where the target is one. Raises BitfabricError where it does not fit."""
    device, accelerator = target.device, generate(hardware, target.device.family)
    made = image(accelerator, target, device.clock_mhz, 0) if target.board else None
    with TemporaryDirectory() as name:
        netlist = synthesise(made.design if made else accelerator, device, Path(name))
        device.check_fit(netlist.resources)
        pins, clock = (made.pins, made.clock_mhz) if made else (None, device.clock_mhz)
        placed = place_and_route(netlist.netlist, device, Path(name), clock, pins, seeds=(1,))
    path = placed.describe_path(partial(instance_in_name, scope=SCOPE if made else ""))
    return Placed(target.name, case, table, netlist.resources.lut, round(placed.fmax_mhz, 1), path)


def attempt(table: Table[Placed], target: Target, case: str, folding: str, graph: Callable[[], Graph]) -> Placed | None:
    """What is known of a case, placed where nothing is; None where it does not fit."""
    try:
        return table.measure(target.name, case, lambda: place(target, case, folding, graph()))
    except BitfabricError as error:
        print(f"{case}: {error}", flush=True)
        return None


def between(kernel: Kernel) -> Graph:
    """A kernel between FIFOs, as it is in a network."""
    nodes: list[Node] = []
    sides: dict[str, tuple[list[Port], list[str]]] = {"s": ([], []), "m": ([], [])}
    for side, streams in (("s", kernel.inputs()), ("m", kernel.outputs())):
        ports, inner = sides[side]
        for i, stream in enumerate(streams):
            outer, own = f"{side}{i}", f"{side}{i}_inner"
            ends = ((outer,), (own,)) if side == "s" else ((own,), (outer,))
            nodes.append(Node(f"fifo_{outer}", Fifo(stream, 2), *ends))
            ports.append(Port(outer, outer, stream.shape, stream.dtype.name))
            inner.append(own)
    nodes.insert(len(kernel.inputs()), Node("kernel", kernel, tuple(sides["s"][1]), tuple(sides["m"][1])))
    return Graph(tuple(nodes), tuple(sides["s"][0]), tuple(sides["m"][0]))


def small(kernel: Kernel, target: Target) -> bool:
    """Whether placing the kernel alone is a matter of seconds, and it is not planned for larger lookup tables."""
    if (kernel.folding.table_inputs or 0) > target.device.family.lut_inputs:
        return False
    used, have = kernel.resources(target.device.family), target.device.capacity
    return used.lut <= SHARE * have.lut and used.ff <= SHARE * have.ff


def fit(
    cases: Sequence[tuple[Kernel, Placed]], pipelines: Sequence[Pipeline], family: Family, ops: Sequence[str] | None
) -> Calibration:
    """The calibration of a family that fits the placed kernels and ``pipelines`` best, by least squares of relative
    errors.

    Kernels whose own logic hardly ever limits, or that were not placed, say little of it; they are held near the mean
    of the others. The figures of a role are those of its slowest kernel, of those without settings for the clock. With
    ``ops`` only the figures of these kernels are fitted, and all others stay as they are.
    """
    from scipy.optimize import least_squares

    known = spec_of(family).fmax
    kept = known.calibration if ops is not None and known is not None else None
    roles = {k.variant: k.role for _, k in grid() if ops is None or k.op in ops}
    typical = {k.variant for _, k in grid() if not k.folding.adders_per_stage}
    cases = [(k, made) for k, made in cases if k.variant in roles]
    kinds = sorted(roles)
    count, used = len(kinds), [kernel.resources(family) for kernel, _ in cases]
    large = [each for each in pipelines if each.variant in roles]
    periods = np.array([1000 / made.fmax for _, made in cases] + [1000 / each.fmax for each in large])
    sizes = [cost.lut for cost in used] + [each.lut for each in large]
    grown = np.array([fmax.crowding(lut, known) if known else 1.0 for lut in sizes])

    def calibration(x: np.ndarray, digits: int = 9) -> Calibration:
        bram, dsp = (Period(round(ns, digits), round(growth, digits)) for ns, growth in x[:4].reshape(2, 2).tolist())
        logic = {
            kind: Period(round(ns, digits), round(growth, digits))
            for kind, (ns, growth) in zip(kinds, x[4:].reshape(2, count).T.tolist(), strict=True)
        }
        if kept is not None:
            return replace(kept, kernels={**kept.kernels, **logic})
        by_role: dict[str, Period] = {
            role: max(logic[kind] for kind in kinds if roles[kind] == role and kind in typical)
            for role in set(roles.values())
        }
        return Calibration(bram, dsp, logic, by_role)

    def errors(x: np.ndarray) -> np.ndarray:
        some, (logic, growth) = calibration(x), np.split(x[4:], 2)
        got = [fmax.period(kernel, cost, some, family) for (kernel, _), cost in zip(cases, used, strict=True)]
        got += [some.kernels[each.variant].at(each.lut) for each in large]
        logic = np.log(logic)
        usual = growth.mean() if kept is None else np.mean([each.growth for each in kept.kernels.values()])
        return np.concatenate((np.log(grown * got / periods), 0.05 * (logic - logic.mean()), growth - usual))

    # Below the path of a block RAM logic has no gradient: one start is at the slowest case of each kind.
    median = float(np.median(periods[: len(cases)]))
    slowest = dict.fromkeys(kinds, 0.0)
    for kernel, made in cases:
        slowest[kernel.variant] = max(slowest[kernel.variant], 1000 / made.fmax)
    paths, logic = [median, 0.02 * median, median, 0.02 * median], np.full(count, 0.8 * median)
    starts = [np.concatenate((scale * np.array(paths), scale * logic)) for scale in (0.6, 0.8, 1, 1.2)]
    starts.append(np.array([*paths, *(slowest[kind] or 0.8 * median for kind in kinds)]))
    low = [0.1, 0.0, 0.1, 0.0] + [0.1] * count + [0.0] * count
    tries = [
        least_squares(errors, np.concatenate((start, [0.15] * count)), bounds=(low, np.inf), diff_step=0.01)
        for start in starts
    ]
    return calibration(min(tries, key=lambda found: found.cost).x, digits=2)


def main() -> None:
    placed = [name for name, family in families().items() if spec_of(family).toolchain]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="place all that is asked for again")
    parser.add_argument("--only", choices=("kernels", "networks"), help="of the two tables")
    parser.add_argument("--family", nargs="*", choices=placed, default=placed)
    parser.add_argument("--kernel", nargs="*", metavar="OP", help="place and fit only these (default: all)")
    parser.add_argument("--fit", action="store_true", help="fit the periods to the kernels and write them")
    options = parser.parse_args()
    rows: list[list[str | int]] = []
    table = clocks.kernels(options.renew)
    for name in options.family if options.only != "networks" else ():
        family = find_family(name)
        target = find_target(reference_device(family).name)
        asked = [(k, case) for case, k in grid() if options.kernel is None or k.op in options.kernel]
        cases = [(k, case) for k, case in asked if small(k, target) or (target.name, case) in table.rows]
        made = ((k, attempt(table, target, case, "", partial(between, k))) for k, case in cases)
        found = [(kernel, one) for kernel, one in made if one is not None]
        if options.fit:
            large = [
                each for each in clocks.pipelines().rows.values() if find_target(each.target).device.family == family
            ]
            calibration = fit(found, large, family, options.kernel)
            folder = Path("hw/families", name)
            path = folder / "calibration.csv" if folder.is_dir() else Path("build/bench") / f"{name}_calibration.csv"
            calibration.write(path)
            print(f"written to {path}")
        elif (known := spec_of(family).fmax) is not None:
            calibration = known.calibration
        else:
            print(f"{name} has no Fmax model yet: --fit makes its calibration")
            continue
        rows.append([name, *kernel_row(found, calibration, family)])
    columns = ["family", "kernels", "mean %", "within 20 %", "worst %"]
    if rows:
        report.show("Fmax of kernels between FIFOs, as estimated against as placed", columns, rows)
    if options.only != "kernels":
        show_networks(clocks.whole_networks(options.renew), options.family)


def kernel_row(found: Iterable[tuple[Kernel, Placed]], calibration: Calibration, family: Family) -> list[str | int]:
    errors = {
        made.case: error(1000 / fmax.period(kernel, kernel.resources(family), calibration, family), made.fmax)
        for kernel, made in found
    }
    worst = max(errors, key=lambda case: abs(errors[case]))
    sizes = np.abs(list(errors.values()))
    return [len(sizes), f"{sizes.mean():.1f}", int((sizes <= 20).sum()), f"{errors[worst]:+.0f} {worst}"]


def show_networks(table: Table[Placed], families: Sequence[str]) -> None:
    rows, kept = [], []
    with TemporaryDirectory() as name:
        for case in clocks.CASES:
            target = find_target(case.target)
            if target.device.family.name not in families:
                continue
            label = f"{case.network} {case.cycles}"
            hardware, text = clocks.folded(case, table.rows.get((target.name, label)), Path(name))
            made = attempt(table, target, label, text, partial(copy, hardware))
            if made is None:
                continue
            guess = fmax.estimate_fmax(hardware, target.device, shell=target.board is not None)
            assert guess is not None
            rows.append([case.network, case.cycles, target.name, made.lut, made.fmax, f"{guess.mhz:.1f}",
                         f"{error(guess.mhz, made.fmax):+.0f}", guess.slowest])  # fmt: skip
            kept.append({"name": label, "target": target.name, "placed": made.fmax, "estimated": guess.mhz})
    columns = ["network", "cycles", "target", "LUT", "Fmax", "estimated", "%", "slowest (estimated)"]
    report.show("Fmax of whole networks, to which only shell_ns, room and with_bram were fitted", columns, rows)
    report.save("clocks", {"networks": kept})


if __name__ == "__main__":
    main()
