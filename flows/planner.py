"""The choice of a design point for a model on a target, and its estimate before synthesis."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal

from flows import fit, rates
from flows.build_report import Counts, Estimate, FoldingChoice, HostLink, Layer, LogicCells, Neighbour
from flows.config import BuildConfig
from flows.design_point import DesignPoint
from hw.boards.targets import find_target
from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.folding import choose, finn_json, fmax
from hw.folding.finn_json import FoldingFile
from hw.folding.fmax import Fmax
from hw.folding.search import Choice, Search, fits
from hw.folding.weights import too_many_weights
from hw.host.errors import BitfabricError, ToolError, UsageError
from hw.ir.graph import Graph
from hw.lowering.input_types import InputTypes
from hw.model import Model
from hw.passes import fold
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.passes.removal.remove import Removal, remove_channels
from hw.timing import cycles
from hw.timing.fifo_sizing import size_fifos

MAX_UTILISATION = {"lut": 0.8, "ff": 0.8, "bram": 0.9, "dsp": 0.9}
"""Maximum estimated fraction of each resource of the device for ``fill``. The rest is for routing, for the shell (about
1,100 lookup tables and the frame buffers), and for errors of the resource model."""
DEFAULT_UTILISATIONS: dict[Literal["quarter", "half", "most"], dict[str, float]] = {
    "quarter": dict.fromkeys(MAX_UTILISATION, 0.25),
    "half": dict.fromkeys(MAX_UTILISATION, 0.5),
    "most": MAX_UTILISATION,
}
"""Fractions of the device for a design with neither a requested rate nor a folding: the first that holds any."""
CYCLE_SLACK = 2.0
"""Maximum ratio of cycles between a design that is faster by its clock and the design of the minimum interval."""
CLOCK_MARGIN = 0.85
"""Fraction of the estimated Fmax that placed designs reach, as measured by ``python -m benchmarks.clocks``."""
ESTIMATE_ERROR = 1.3
"""An estimate that exceeds the device by more than this factor ends a build before synthesis."""
CLOCK_ERROR = 1.3
"""A clock that exceeds the estimated Fmax by more than this factor ends a build before synthesis."""
GRANULARITIES = (1, 2, 4, 8)
"""Multiples down to which channels that do nothing are removed: the design takes the best, or removes none.

Fewer channels are not always cheaper: 61 of 64 have no folding but 1 and 61.
"""
NEIGHBOUR = 1.05
"""Least ratio of cycles between a design and the designs of the next rates."""


ChosenBy = Literal["rate", "folding", "fill", "model", "quarter", "half", "most", "smallest"]
"""See ``FoldingChoice.by``."""


def clock_warning(clock_mhz: float, fmax_mhz: float, slowest: str) -> str:
    """A sentence on a clock above the estimated Fmax, with a clock that is likely to be met."""
    return (
        f"the clock of {clock_mhz:g} MHz is {clock_mhz / fmax_mhz:.2f} times the estimated Fmax of {fmax_mhz:.0f} MHz, "
        f"which {slowest} limits; --clock {max(1, floor(CLOCK_MARGIN * fmax_mhz))} is likely to be met"
    )


_PREFERENCE: tuple[ChosenBy, ...] = ("rate", "folding", "fill", "model", "quarter", "half", "most", "smallest")


class Plan:
    """The choices for a model on a target, each made at the first access.

    Where the model has channels that do nothing, the design is folded without them as well, once for each granularity
    of ``GRANULARITIES`` that removes other ones, and the best design of these is taken: at a rate the cheapest, and
    otherwise the fastest; where they are equal, the one that removes less. So it is never worse than with all channels.
    """

    def __init__(self, model: Model, config: BuildConfig, granularity: int | None = None) -> None:
        """``granularity``: that of the removal of channels (0: none is removed); None: the best one is taken."""
        self.target = find_target(config.target)
        self.device: Device = self.target.device
        self.model = model
        self.config = config
        self.clock_mhz = config.clock_mhz or self.device.clock_mhz
        self.granularity = granularity

    @cached_property
    def alternatives(self) -> "tuple[Plan, ...]":
        """The plans of all granularities that remove other channels; first the one that removes none."""
        if self.granularity is not None:
            return (self,)
        if self.config.folding is not None:
            return (Plan(self.model, self.config, finn_json.granularity_of(self.config.folding)),)
        found = [Plan(self.model, self.config, 0)]
        sizes: list[list[int]] = []
        for granularity in () if self.model.frontend.folded else GRANULARITIES:
            plan = Plan(self.model, self.config, granularity)
            if not plan.removal.layers:
                break
            kept = [int(each.sum()) for each in plan.removal.kept.values()]
            if kept not in sizes:
                sizes.append(kept)
                found.append(plan)
        return tuple(found)

    @cached_property
    def _best(self) -> "Plan":
        """The plan with the best design. Raises BitfabricError where there is none, as that with all channels does."""
        first, *others = self.alternatives
        if not others:
            return first
        ranks: list[tuple[tuple[float, ...], Plan]] = []
        error: BitfabricError | None = None
        for plan in self.alternatives:
            try:
                ranks.append((plan._rank(), plan))
            except ToolError:
                raise
            except BitfabricError as why:
                error = error or why
        if not ranks:
            assert error is not None
            raise error
        return min(ranks, key=lambda each: each[0])[1]

    def _rank(self) -> tuple[float, ...]:
        """How good the design is; less is better."""
        by, design = self._chosen
        used = choose.estimate_resources(design.hardware, self.device.family)
        over = self._overflow(used, fit.logic_cells(self.target, used)) is not None
        fps = design.clock_mhz * 1e6 / max(node.kernel.interval for node in design.hardware)
        cost = choose.cost(used, self.device.capacity)
        return _PREFERENCE.index(by), over, 0.0 if by in ("rate", "smallest") else -fps, cost

    @cached_property
    def removal(self) -> Removal:
        """The model's dataflow graph, and the one without channels that do nothing."""
        if self.granularity is None:
            return self._best.removal
        return remove_channels(self.model.graph, self.granularity)

    @cached_property
    def graph(self) -> Graph:
        """The dataflow graph that is folded, with parity bits if requested."""
        return self.removal.graph.with_parity() if self.config.parity else self.removal.graph

    @cached_property
    def search(self) -> Search:
        """All foldings. Raises BitfabricError as ``check_weights``."""
        if self.granularity is None:
            return self._best.search
        self.check_weights()
        return Search(self.graph, self.device.family, self.device.capacity, fit.most_cells(self.target), self.clock_mhz)

    def check_weights(self) -> None:
        """Raise BitfabricError where the device clearly has no room for the weights, however they are folded."""
        family, capacity = self.device.family, self.device.capacity
        if over := too_many_weights(self.graph, family, capacity, ESTIMATE_ERROR):
            raise BitfabricError(
                f"{self.model.path.name} does not fit {self.config.target}, however it is folded: its weights are "
                f"{over.bits / 1e6:.1f} Mbit, and {capacity.bram} block RAMs and {capacity.lut} lookup tables hold "
                f"{over.held / 1e6:.1f} Mbit at most; the largest layers are {', '.join(over.layers)}; take a bigger "
                "device, a smaller network or fewer bits"
            )

    def _fmax(self, hardware: Graph) -> Fmax | None:
        """The estimated Fmax of the placed hardware, with the board's shell."""
        return fmax.estimate_fmax(hardware, self.device, shell=self.target.board is not None)

    @cached_property
    def wanted_cycles(self) -> int | None:
        """Maximum cycles per frame at the rate ``fps``."""
        if self.config.fps is None:
            return None
        cycles = floor(self.clock_mhz * 1e6 / self.config.fps)
        least, layer = self.search.min_interval
        if cycles < least:
            best = floor(self.clock_mhz * 1e6 / least)
            raise UsageError(
                f"{self.config.fps:g} frames/s at {self.clock_mhz:g} MHz leave {cycles} cycles a frame; layer {layer} "
                f"needs {least}: at most {best} frames/s are possible; ask for no more, or for a higher --clock"
            )
        return cycles

    @cached_property
    def point(self) -> DesignPoint:
        """The design from the folding file, for the rate, as the model itself is folded, or for the area."""
        return self._chosen[1]

    @cached_property
    def _folding_file(self) -> FoldingFile:
        """The content of the folding file; of none, an empty one."""
        path = self.config.folding
        return FoldingFile({}) if path is None else finn_json.read(path, self.graph)

    @cached_property
    def _chosen(self) -> tuple[ChosenBy, DesignPoint]:
        """What the folding was chosen by, and the design."""
        if self.granularity is None:
            return self._best._chosen
        self.check_weights()
        if self.config.folding is not None:
            table = self._folding_file.table
            return "folding", self._design(current_folding(apply_folding(self.graph, table)))
        if self.wanted_cycles is not None:
            return "rate", self._design(choose.for_rate(self.search, self.wanted_cycles).folding)
        if self.config.fill:
            return "fill", self._max_throughput(self.budget(MAX_UTILISATION))
        if self.model.frontend.folded:
            return "model", self._design(current_folding(self.graph))
        for share, utilisation in DEFAULT_UTILISATIONS.items():
            budget = self.budget(utilisation)
            if self.search.fastest(budget) and self._within(design := self._fit_budget(budget), budget):
                return share, design if share == "quarter" else self._slowed(design)
        return "smallest", self._fit_budget(Resources())

    def _slowed(self, design: DesignPoint) -> DesignPoint:
        """The design with a clock that it reaches with a margin, where none is requested and it misses the default."""
        if self.config.clock_mhz is not None or design.fmax is None or design.fmax.mhz >= design.clock_mhz:
            return design
        return design.with_clock(self._clock(design.fmax))

    @property
    def known_point(self) -> DesignPoint | None:
        """The design point, if it has been chosen already."""
        chosen: tuple[ChosenBy, DesignPoint] | None = vars(self).get("_chosen")
        return chosen and chosen[1]

    def _design(self, table: fold.FoldingTable) -> DesignPoint:
        """The design with this folding and the FIFO depths that it needs."""
        depths = size_fifos(insert_width_converters(apply_folding(self.graph, table)))
        granularity = self.granularity if self.removal.layers else 0
        point = DesignPoint(self.model, self.config.parity, table, depths, self.clock_mhz, granularity=granularity or 0)
        vars(point)["removal"] = self.removal  # A point of a file finds it again.
        return point.with_fmax(self._fmax(point.hardware))

    def budget(self, shares: dict[str, float]) -> Resources:
        """The budget: the given fractions of the device's resources."""
        return Resources(**{name: int(shares[name] * have) for name, have in vars(self.device.capacity).items()})

    def _fit_budget(self, budget: Resources, cycles: int = 0) -> DesignPoint:
        """The fastest design of at least ``cycles`` cycles per frame that fits a budget together with its FIFOs, whose
        depths follow from the folding; the smallest design where none fits."""
        left = budget
        while True:
            choice = choose.for_budget(self.search, left, cycles)
            design = self._design(choice.folding)
            used = choose.estimate_resources(design.hardware, self.device.family)
            if self._within(design, budget) or not fits(choice.used, left):
                return design
            left = Resources(**{
                name: min(have, vars(budget)[name] - vars(used)[name] + vars(choice.used)[name])
                for name, have in vars(left).items()
            })  # fmt: skip
            if (excess := self._excess_cells(used)) > 0:
                left = replace(left, lut=left.lut - ceil(excess))

    def _within(self, design: DesignPoint, budget: Resources) -> bool:
        """Whether a design fits a budget together with its FIFOs."""
        used = choose.estimate_resources(design.hardware, self.device.family)
        return fits(used, budget) and self._excess_cells(used) <= 0

    def _excess_cells(self, used: Resources) -> float:
        """The logic cells of kernels of these resources beyond those that there are for them."""
        packing = fit.packing_of(self.target)
        return packing.estimate(used) - fit.most_cells(self.target) if packing else 0

    def _max_throughput(self, budget: Resources) -> DesignPoint:
        """The design with the maximum frames per second within a budget.

        Its clock is the requested one if the design is estimated to reach it, and otherwise a clock that it reaches
        with a margin. A smaller design has a higher Fmax, so foldings of somewhat more cycles are compared as well.
        """
        best, most = 0, 0.0
        for choice in self.search.near_fastest(budget, CYCLE_SLACK):
            hardware = insert_width_converters(apply_folding(self.graph, choice.folding))
            if (rate := self._clock(self._fmax(hardware)) / choice.interval) > most:
                best, most = choice.interval, rate
        design = self._fit_budget(budget, best)
        return design.with_clock(self._clock(design.fmax) or self.clock_mhz)

    def _clock(self, estimated: Fmax | None) -> float:
        """The clock for a design, in MHz; 0 where the estimated Fmax is below the requested clock."""
        if estimated is None:
            return self.clock_mhz
        if self.config.clock_mhz is None:
            return float(floor(CLOCK_MARGIN * estimated.mhz))
        return self.clock_mhz if estimated.mhz >= self.clock_mhz else 0.0

    def suggestion(self, most_cells: float | None = None) -> str:
        """A sentence that names a folding that would fit, of at most ``most_cells`` logic cells (default: those that
        there are for it)."""
        search = self.search
        if most_cells is not None and most_cells < search.most_cells:
            search = Search(self.graph, self.device.family, self.device.capacity, most_cells, self.clock_mhz)
        choice = search.fastest(self.budget(MAX_UTILISATION))
        if choice is None:
            used = choose.for_budget(search, Resources()).used
            over = self._overflow(used, fit.logic_cells(self.target, used))
            over = over or f"{used.lut} LUT and {used.bram} BRAM, and routing needs room"
            return f"even the smallest folding does not fit ({over}); take a bigger device or a smaller network"
        rate, used = floor(self.clock_mhz * 1e6 / choice.interval), choice.used
        cycles = f"{choice.interval} cycles a frame"
        return f"--fps {rate} ({cycles}) is estimated to fit, with {used.lut} LUT and {used.bram} BRAM"

    def estimate(self) -> Estimate:
        """Folding, FIFOs, cycles and resources as estimated.

        Raises BitfabricError where the estimate is clearly over the device, and UsageError for parity without memories.
        """
        design, family = self.point, self.device.family
        hardware = design.hardware
        steady = cycles.steady_state(hardware)
        used = choose.estimate_resources(hardware, family)
        cells = fit.logic_cells(self.target, used)
        # The estimate is not exact: only a clear excess ends the build before synthesis.
        if over := self.device.overflow(Resources(*(int(v / ESTIMATE_ERROR) for v in vars(used).values()))):
            raise BitfabricError(
                f"{self.model.path.name} does not fit {self.config.target} as folded: the estimate is {used.lut} LUT "
                f"and {used.bram} BRAM, and 30 % less would still be {over}; {self.suggestion()}"
            )
        if self.config.parity and not any(node.kernel.has_parity(family) for node in hardware):
            raise UsageError(
                f"--parity protects memories in block RAM, and {self.model.path.name} has none as folded; ask for "
                "fewer frames/s, which makes memories deeper, or leave --parity out"
            )
        link, warnings = self._host_link(steady)
        warnings = (*self._folding_file.remarks, *warnings)
        if over := self._overflow(used, cells):
            warnings += (f"the estimate does not fit the device: {over}; {self.suggestion()}",)
        if design.fmax is not None and design.clock_mhz > design.fmax.mhz:
            warnings += (clock_warning(design.clock_mhz, design.fmax.mhz, self._title(design.fmax.slowest)),)
        return Estimate(
            **design.to_json(),
            interval=steady.interval,
            latency=steady.latency,
            fmax_mhz=design.fmax.mhz if design.fmax else None,
            slowest=design.fmax.slowest if design.fmax else None,
            uncalibrated=design.fmax.uncalibrated if design.fmax else (),
            fps=design.clock_mhz * 1e6 / steady.interval,
            choice=self._choice(),
            host_link=link,
            warnings=warnings,
            resources=Counts(**vars(used)),
            logic_cells=cells,
            layers=tuple(
                Layer.model_validate(
                    {
                        "name": node.name,
                        **node.origin.names,
                        "operator": node.kernel.op,
                        **node.kernel.folding.attributes,
                        "cycles": node.kernel.interval,
                        "parity": node.kernel.has_parity(family),
                        "estimated": vars(node.kernel.resources(family)),
                    }
                )
                for node in hardware
            ),
        )

    def _host_link(self, steady: cycles.SteadyState) -> tuple[HostLink | None, tuple[str, ...]]:
        """The rates of the image; a warning instead where the board cannot have the clock."""
        try:
            return rates.of_image(self.point, self.target, steady.interval, steady.latency), ()
        except BitfabricError as error:
            return None, (f"no image can be made: {error}",)

    def _overflow(self, used: Resources, cells: LogicCells | None) -> str | None:
        """What exceeds the device: resources, or else logic cells; None if the design fits."""
        return self.device.overflow(used) or (fit.overflow(cells, cells.estimated) if cells else None)

    def check_cells(self, estimate: Estimate) -> None:
        """Raise BitfabricError where the design clearly needs more logic cells than there are: it cannot be placed."""
        cells = estimate.logic_cells
        if cells and (over := fit.overflow(cells, int(cells.estimated / ESTIMATE_ERROR))):
            raise BitfabricError(
                f"{self.model.path.name} does not fit {self.config.target} as folded: the estimate is "
                f"{cells.estimated} {cells.name}, and 30 % less would still be {over}; {self.suggestion()}"
            )

    def refuse(self, what: str, layers: Mapping[str, Counts], needed: int | None = None) -> BitfabricError:
        """The error for a synthesised design for which the device has no room: ``what`` says how much, ``layers`` which
        ones are largest, and a rate that is estimated to fit, given the logic cells ``needed``."""
        largest = sorted(layers, key=lambda name: -(layers[name].lut + layers[name].ff))[:3]
        titles = self.graph.titles
        named = ", ".join(
            f"{titles.get(name, name)} ({layers[name].lut} LUT, {layers[name].ff} FF)" for name in largest
        )
        return BitfabricError(
            f"the design does not fit {self.config.target}: {what}; its largest layers are {named}; "
            f"{self.suggestion(self._fewer_cells(needed))}"
        )

    def _fewer_cells(self, needed: int | None) -> float:
        """A limit on logic cells that is clearly below those of this design, which needs ``needed`` of them."""
        most, packing = fit.most_cells(self.target), fit.packing_of(self.target)
        if packing is None:
            return most
        used = choose.estimate_resources(self.point.hardware, self.device.family)
        whole = fit.logic_cells(self.target, used)
        error = max(1.0, needed / whole.estimated) if needed and whole else 1.0
        return min(most, 0.9 * packing.estimate(used)) / error

    def check_clock(self, estimate: Estimate) -> None:
        """Raise BitfabricError where the clock that was asked for is clearly above the estimated Fmax, and not forced.

        A clock that nobody asked for is only a warning: a default design is placed whatever the estimate says.
        """
        config, fmax = self.config, estimate.fmax_mhz
        if config.clock_mhz is None or config.force_clock or fmax is None or estimate.clock_mhz <= CLOCK_ERROR * fmax:
            return
        warning = clock_warning(estimate.clock_mhz, fmax, self._title(estimate.slowest))
        raise BitfabricError(f"{self.config.target}: {warning}, and --force-clock places the design all the same")

    def _title(self, name: str | None) -> str:
        """The name of a node that limits the clock, with the user's own."""
        return self.point.hardware.titles.get(name or "", name or "")

    def _choice(self) -> FoldingChoice:
        """Why the design is folded as it is, with the rates next to it where the device decided."""
        by, design = self._chosen
        if by in ("rate", "folding", "model"):
            return FoldingChoice(by=by, slower=None, faster=None)
        interval = max(node.kernel.interval for node in design.hardware)
        intervals = self.search.intervals
        # Where layers in logic are the cheapest, the cheapest folding of a longer interval may be as fast as this one.
        after = bisect_left(intervals, True, key=lambda cycles: self._cheapest(cycles).interval >= NEIGHBOUR * interval)
        before = bisect_right(intervals, interval / NEIGHBOUR) - 1
        return FoldingChoice(
            by=by,
            slower=self._neighbour(intervals[after], design) if after < len(intervals) else None,
            faster=self._neighbour(intervals[before], design) if before >= 0 else None,
        )

    def _cheapest(self, cycles: int) -> Choice:
        """The cheapest folding of at most ``cycles`` cycles per frame, an interval of the search."""
        choice = self.search.cheapest(cycles)
        assert choice is not None, "an interval of the search has a folding"
        return choice

    def _neighbour(self, cycles: int, design: DesignPoint) -> Neighbour:
        """The cheapest folding of at most ``cycles`` cycles per frame, at the clock of ``design``."""
        choice = self._cheapest(cycles)
        return Neighbour(
            fps=design.clock_mhz * 1e6 / choice.interval,
            interval=choice.interval,
            resources=Counts(**vars(choice.used)),
            fits=self._overflow(choice.used, fit.logic_cells(self.target, choice.used)) is None,
        )

    def pareto_front(self) -> list[tuple[Choice, dict[str, int]]]:
        """The Pareto front of rate and resources on the device, of all ``alternatives`` together, the fastest first.

        Each choice is with the ``granularity`` of the removal of channels where it has one.
        """
        every = [
            (choice, plan) for plan in self.alternatives for choice in plan.search.pareto_front(self.device.capacity)
        ]
        found: list[tuple[Choice, Plan]] = []
        for choice, plan in sorted(every, key=lambda each: (each[0].interval, each[0].cost)):
            if not any(plan.search.dominates(faster, choice) for faster, _ in found):
                found.append((choice, plan))
        return [(choice, {"granularity": plan.granularity} if plan.granularity else {}) for choice, plan in found]

    def line_fps(self) -> float | None:
        """Frames per second that the line of the host link carries, whatever the folding; None where there is none."""
        try:
            return rates.of_line(self.graph, self.target, self.clock_mhz)
        except BitfabricError:
            return None


def estimate_build(
    model: str | os.PathLike[str] | Model,
    target: str,
    *,
    fps: float | None = None,
    folding: str | os.PathLike[str] | None = None,
    fill: bool = False,
    clock_mhz: float | None = None,
    parity: bool = False,
    input_type: InputTypes | None = None,
) -> dict[str, Any]:
    """Cycles, latency and resources of a build without synthesis, as ``bitfabric estimate --json`` prints them.

    The options are those of BuildConfig; ``input_type`` are types of inputs that the model does not quantize
    (``hw.lowering.input_types``). Raises BitfabricError where the model cannot be lowered or does not fit.
    """
    config = BuildConfig(
        target, fps=fps, folding=None if folding is None else Path(folding), fill=fill, clock_mhz=clock_mhz,
        parity=parity,
    )  # fmt: skip
    plan = Plan(Model.open(model, input_type), config)
    summary = plan.estimate().to_json()
    return {
        "model": str(plan.model.path),
        **({"input_types": plan.model.input_types} if plan.model.input_types else {}),
        "target": target,
        "clock_mhz": summary["clock_mhz"],
        "fmax_mhz": {"estimated": summary["fmax_mhz"], "slowest": summary["slowest"]}
        | ({"uncalibrated": summary["uncalibrated"]} if summary["uncalibrated"] else {}),
        "fps": summary["fps"],
        "choice": summary["choice"],
        "host_link": summary["host_link"],
        "cycles": {"interval": summary["interval"], "latency": summary["latency"]},
        "resources": {
            name: {"estimated": used, "available": vars(plan.device.capacity)[name]}
            for name, used in summary["resources"].items()
        },
        "logic_cells": summary["logic_cells"],
        "folding": summary["folding"],
        "fifos": summary["fifos"],
        "layers": summary["layers"],
        **({"removed": summary["removed"]} if "removed" in summary else {}),
        "warnings": summary["warnings"],
    }


def pareto(
    model: str | os.PathLike[str] | Model,
    target: str,
    clock_mhz: float | None = None,
    input_type: InputTypes | None = None,
) -> dict[str, Any]:
    """The Pareto front of rate and resources on a target, of foldings that fit it (``Search.pareto_front``).

    FIFOs are not counted, since their depths follow from the folding. Raises BitfabricError where none fits.
    """
    plan = Plan(Model.open(model, input_type), BuildConfig(target, clock_mhz=clock_mhz))
    front = plan.pareto_front()
    if not front:
        raise BitfabricError(f"{plan.model.path.name} does not fit {target}: {plan.suggestion()}")
    return {
        "model": str(plan.model.path),
        "target": target,
        "clock_mhz": plan.clock_mhz,
        "available": vars(plan.device.capacity),
        "host_link_fps": plan.line_fps(),
        "pareto": [_point(choice, plan.clock_mhz) | removed for choice, removed in front],
    }


def _point(choice: Choice, clock_mhz: float) -> dict[str, Any]:
    return {
        "fps": clock_mhz * 1e6 / choice.interval,
        "interval": choice.interval,
        "estimated": vars(choice.used),
        "folding": {name: f.attributes for name, f in choice.folding.items()},
    }
