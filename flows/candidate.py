"""The choice of a design point for one graph: the model's own, or that without channels that do nothing."""

from dataclasses import replace
from functools import cached_property
from math import ceil, floor
from typing import Literal

from flows import fit
from flows.config import BuildConfig
from flows.cycle_budget import whole_cycles
from flows.density import density_that_fits
from flows.design_point import DesignPoint
from hw.boards.targets import Target
from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.folding import choose, finn_json, fmax
from hw.folding.finn_json import FoldingFile
from hw.folding.fmax import Fmax
from hw.folding.search import UNLIMITED, Choice, Search, fits, mean_cycles
from hw.folding.tables import FoldingTables, may_save_dsps
from hw.folding.weights import too_many_weights
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.ir.verdicts import branches, shares
from hw.model import Model
from hw.passes import fold
from hw.passes.chains import fused
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import connected
from hw.passes.removal.remove import Removal, remove_channels
from hw.timing.exits import provided, with_queues
from hw.timing.fifo_sizing import size_fifos

MAX_UTILISATION = {"lut": 0.8, "ff": 0.8, "bram": 0.9, "dsp": 0.9}
"""Maximum estimated fraction of each resource of the device for ``fill``. The rest is for routing, for a board's
shell as far as it goes, and for errors of the resource model."""
DEFAULT_UTILISATIONS: dict[Literal["quarter", "half", "most"], dict[str, float]] = {
    "quarter": dict.fromkeys(MAX_UTILISATION, 0.25),
    "half": dict.fromkeys(MAX_UTILISATION, 0.5),
    "most": MAX_UTILISATION,
}
"""Fractions of the device for a design with neither a requested rate nor a folding: the first that holds any."""
CYCLE_SLACK = 2.0
"""Maximum ratio of cycles between a design that is faster by its clock and the design of the minimum interval."""
FINER = 1.25, 1.5, 2.0, 3.0
"""Clocks that the settings of kernels are tried for where a design misses its own, as multiples of it."""
CLOCK_MARGIN = 0.85
"""Fraction of the estimated Fmax that placed designs reach, as measured by ``python -m benchmarks.clocks``."""
ESTIMATE_ERROR = 1.3
"""An estimate that exceeds the device by more than this factor ends a build before synthesis."""
NAMED = 3
"""Most layers that an error names."""

ChosenBy = Literal["rate", "folding", "fill", "model", "quarter", "half", "most", "smallest"]
"""See ``FoldingChoice.by``."""

_PREFERENCE: tuple[ChosenBy, ...] = ("rate", "folding", "fill", "model", "quarter", "half", "most", "smallest")


class Candidate:
    """The choices for one graph on a target, each made at the first access.

    ``granularity``: channels that do nothing are removed down to a multiple of it; 0: none is removed.
    """

    def __init__(self, model: Model, config: BuildConfig, target: Target, granularity: int) -> None:
        self.model = model
        self.config = config
        self.target = target
        self.device: Device = target.device
        self.clock_mhz = config.clock_mhz or self.device.clock_mhz
        self.granularity = granularity

    @cached_property
    def removal(self) -> Removal:
        """The model's dataflow graph, and the one without channels that do nothing."""
        return remove_channels(self.model.graph, self.granularity)

    @cached_property
    def graph(self) -> Graph:
        """The dataflow graph that is folded, with parity bits if requested.

        Raises UsageError for a share of frames at early exits that the model does not have.
        """
        if self.config.exit_share != 1 and not branches(self.model.graph):
            raise UsageError(
                f"--exit-share {self.config.exit_share:g}: {self.model.path.name} has no early exit, all frames go "
                "through all layers; leave the option out"
            )
        graph = fused(self.removal.graph)
        return graph.with_parity() if self.config.parity else graph

    @cached_property
    def search(self) -> Search:
        """All foldings. Raises BitfabricError as ``check_weights``."""
        self.check_weights()
        return self._search()

    @cached_property
    def _usual_search(self) -> Search:
        """The foldings of a design for which no rate is asked: without the implementations for low rates, and without
        those that save DSP blocks unless these are limited. ``search`` where there are no such."""
        low_rates = any(each.for_low_rates for node in self.graph for each in node.kernel.implementations())
        saving = self._saving_left_out
        if not low_rates and not saving:
            return self.search
        return self._search(low_rates=False, saving_dsps=not saving, tables=None if low_rates else self.search.tables)

    @cached_property
    def _saving_left_out(self) -> bool:
        """Whether a design for which no rate is asked has no implementations that save DSP blocks, though there are."""
        return "dsp" not in self.config.limits and any(may_save_dsps(node.kernel) for node in self.graph)

    @property
    def in_dsps(self) -> bool:
        """Whether the design has DSP blocks for what lookup tables could do as well, and a faster one may have it in
        these: such were not tried for it."""
        by, design = self.chosen
        used = choose.estimate_resources(design.hardware, self.device.family)
        return by in DEFAULT_UTILISATIONS and self._saving_left_out and used.dsp > 0 and not self._overflows(design)

    def _search(self, low_rates: bool = True, saving_dsps: bool = True, tables: FoldingTables | None = None) -> Search:
        """All foldings, or those without the implementations for low rates or those that save DSP blocks."""
        family, cells = self.device.family, fit.most_cells(self.target, self._shell_unfolded)
        return Search(
            self.graph, family, self.device.capacity, cells, self.clock_mhz, low_rates=low_rates,
            tables=tables, going_on=provided(self.config.exit_share), saving_dsps=saving_dsps,
        )  # fmt: skip

    def shell(self, hardware: Graph) -> Resources:
        """The estimated resources of the board's shell around a folded graph."""
        return fit.shell(self.target, hardware, self.config.benchmark_frames)

    @cached_property
    def _shell_unfolded(self) -> Resources:
        """Those that a search leaves room for: its shell has the lanes of the graph without parallelism."""
        return self.shell(self.graph)

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

    @cached_property
    def wanted_cycles(self) -> int | None:
        """Maximum cycles per frame at the rate ``fps``."""
        if self.config.fps is None:
            return None
        cycles = whole_cycles(self.config.fps, self.clock_mhz)
        least, layer = self.search.min_interval
        if cycles < least:
            best = floor(self.clock_mhz * 1e6 / least)
            raise UsageError(
                f"{self.config.fps:.12g} frames/s at {self.clock_mhz:g} MHz leave {cycles} cycle{'s' * (cycles != 1)} "
                f"a frame; layer {layer} needs {least}: at most {best} frames/s are "
                f"possible; ask for no more, or for a higher --clock"
            )
        return cycles

    @cached_property
    def point(self) -> DesignPoint:
        """The design from the folding file, for the rate, as the model itself is folded, or for the area."""
        return self.chosen[1]

    @property
    def known_point(self) -> DesignPoint | None:
        """The design point, if it has been chosen already."""
        chosen: tuple[ChosenBy, DesignPoint] | None = vars(self).get("chosen")
        return chosen and chosen[1]

    @cached_property
    def folding_file(self) -> FoldingFile:
        """The content of the folding file; of none, an empty one."""
        path = self.config.folding
        return FoldingFile({}) if path is None else finn_json.read(path, self.graph)

    @cached_property
    def chosen(self) -> tuple[ChosenBy, DesignPoint]:
        """What the folding was chosen by, and the design."""
        self.check_weights()
        if self.config.folding is not None:
            table = self.folding_file.table
            return "folding", self._design(current_folding(apply_folding(self.graph, table)))
        if self.wanted_cycles is not None:
            return "rate", self._for_rate(self.wanted_cycles)
        if self.config.fill:
            return "fill", self._max_throughput(self.budget(MAX_UTILISATION))
        if self.model.frontend.folded:
            return "model", self._design(current_folding(self.graph))
        if self._usual_search is not self.search:
            by, design = self._default(self._usual_search)
            if not self._overflows(design):
                return by, design
        return self._default(self.search)

    def _default(self, search: Search) -> tuple[ChosenBy, DesignPoint]:
        """The design where neither a rate nor a folding is given, and what it was chosen by."""
        for share, utilisation in DEFAULT_UTILISATIONS.items():
            budget = self.budget(utilisation)
            if search.fastest(budget) and self._within(design := self._fit_budget(search, budget), budget):
                return share, design if share == "quarter" else self._slowed(design)
        return "smallest", self._fit_budget(search, Resources())

    def _overflows(self, design: DesignPoint) -> bool:
        """Whether a design exceeds the device, or the limits."""
        return not self.has_room_for(choose.estimate_resources(design.hardware, self.device.family), design.hardware)

    def has_room_for(self, used: Resources, hardware: Graph) -> bool:
        """Whether resources fit the device with the shell around ``hardware``, and the limits."""
        return self._over_limits(used) is None and self.overflow(used + self.shell(hardware)) is None

    def rank(self) -> tuple[float, ...]:
        """How good the design is; less is better."""
        by, design = self.chosen
        used = choose.estimate_resources(design.hardware, self.device.family)
        over = self._overflows(design)
        fps = design.clock_mhz * 1e6 / self.mean_cycles(design)
        cost = choose.cost(used, self.device.capacity)
        return _PREFERENCE.index(by), over, 0.0 if by in ("rate", "smallest") else -fps, cost

    def mean_cycles(self, design: DesignPoint) -> int:
        """The cycles per frame of the slowest kernel of a design, where frames leave at early exits as configured."""
        reach = shares(design.hardware, provided(self.config.exit_share))
        return max(mean_cycles(node.kernel.interval, reach[node.name]) for node in design.hardware)

    def _slowed(self, design: DesignPoint) -> DesignPoint:
        """The design with a clock that it reaches with a margin, where none is requested and it misses the default."""
        if self.config.clock_mhz is not None or design.fmax is None or design.fmax.mhz >= design.clock_mhz:
            return design
        return design.with_clock(self._clock(design.fmax))

    def _design(self, table: fold.FoldingTable) -> DesignPoint:
        """The design with this folding and the FIFO depths that it needs."""
        folded = connected(apply_folding(self.graph, table))
        depths = size_fifos(folded)
        if self.wanted_cycles is None or max(node.kernel.interval for node in folded) > self.wanted_cycles:
            depths = with_queues(folded, depths, self.config.exit_share)  # Else all frames go on at the rate.
        granularity = self.granularity if self.removal.layers else 0
        point = DesignPoint(self.model, self.config.parity, table, depths, self.clock_mhz, granularity=granularity)
        vars(point)["removal"] = self.removal  # A point of a file finds it again.
        return point.with_fmax(self._fmax(point.hardware))

    def _fmax(self, hardware: Graph) -> Fmax | None:
        """The estimated Fmax of the placed hardware, with the board's shell."""
        return fmax.estimate_fmax(hardware, self.device, shell=self.target.board is not None)

    @property
    def limit(self) -> Resources:
        """The most resources of the accelerator: those of the device, or those that were asked for."""
        return replace(self.device.capacity, **self.config.limits)

    @property
    def _limits(self) -> Resources:
        """The limits that were asked for alone, as a budget."""
        return Resources(**{name: self.config.limits.get(name, UNLIMITED) for name in vars(Resources())})

    def budget(self, shares: dict[str, float]) -> Resources:
        """The budget: the given fractions of the device's resources, within the limits."""
        limits = self.config.limits
        around = vars(self._shell_unfolded)
        return Resources(**{
            name: max(0, min(int(shares[name] * have), have - around[name], limits.get(name, have)))
            for name, have in vars(self.device.capacity).items()
        })  # fmt: skip

    def _for_rate(self, cycles: int) -> DesignPoint:
        """The cheapest design of at most ``cycles`` cycles per frame, within the limits together with its FIFOs if
        there is one."""
        if not self.config.limits:
            return self._pipelined(choose.for_rate(self.search, cycles).folding)
        left = self.limit
        while True:
            choice = choose.for_rate(self.search, cycles, left)
            design = self._pipelined(choice.folding)
            if self.excess(design) is None or not fits(choice.used, left):
                return design
            left = self._without_rest(left, self.limit, design, choice)

    def excess(self, design: DesignPoint) -> str | None:
        """What of a design exceeds the limits that were asked for, as in ``"DSP 12 of 8"``; None if nothing does."""
        return self._over_limits(choose.estimate_resources(design.hardware, self.device.family))

    def _over_limits(self, used: Resources) -> str | None:
        limits, need = self.config.limits, vars(used)
        over = [f"{name.upper()} {need[name]} of {most}" for name, most in limits.items() if need[name] > most]
        return ", ".join(over) or None

    def _pipelined(self, table: fold.FoldingTable) -> DesignPoint:
        """The design with this folding. Where its estimated Fmax misses the clock, its kernels have the settings for a
        higher one, as far as that raises it: a kernel's own settings do not consider the size of the design."""
        best = self._design(table)
        for factor in FINER:
            if best.fmax is None or best.fmax.mhz >= self.clock_mhz:
                break
            finer = choose.tuned(self.graph, table, self.device.family, factor * self.clock_mhz)
            if finer != best.folding:
                best = max(best, self._design(finer), key=lambda each: each.fmax.mhz if each.fmax else 0.0)
        return best

    def _fit_budget(self, search: Search, budget: Resources, cycles: int = 0) -> DesignPoint:
        """The fastest design of at least ``cycles`` cycles per frame that fits a budget together with its FIFOs, whose
        depths follow from the folding; the smallest design where none fits."""
        left = budget
        while True:
            choice = choose.for_budget(search, left, cycles, self._limits)
            design = self._pipelined(choice.folding)
            used = choose.estimate_resources(design.hardware, self.device.family)
            if self._within(design, budget) or not fits(choice.used, left):
                return design
            left = self._without_rest(left, budget, design, choice)
            if (excess := self._excess_cells(used)) > 0:
                left = replace(left, lut=left.lut - ceil(excess))

    def _without_rest(self, left: Resources, budget: Resources, design: DesignPoint, choice: Choice) -> Resources:
        """What is left of a budget for a folding, at most ``left``, if FIFOs and all else take as much as in the design
        of another one."""
        used, folded = vars(choose.estimate_resources(design.hardware, self.device.family)), vars(choice.used)
        return Resources(**{
            name: min(have, vars(budget)[name] - used[name] + folded[name]) for name, have in vars(left).items()
        })  # fmt: skip

    def _within(self, design: DesignPoint, budget: Resources) -> bool:
        """Whether a design fits a budget together with its FIFOs."""
        used = choose.estimate_resources(design.hardware, self.device.family)
        return fits(used, budget) and self._excess_cells(used) <= 0

    def _excess_cells(self, used: Resources) -> float:
        """The logic cells of kernels of these resources beyond those that there are for them."""
        packing = fit.packing_of(self.target)
        return packing.estimate(used) - fit.most_cells(self.target, self._shell_unfolded) if packing else 0

    def _max_throughput(self, budget: Resources) -> DesignPoint:
        """The design with the maximum frames per second within a budget.

        Its clock is the requested one if the design is estimated to reach it, and otherwise a clock that it reaches
        with a margin. A smaller design has a higher Fmax, so foldings of somewhat more cycles are compared as well.
        """
        best, most = 0, 0.0
        for choice in self.search.near_fastest(budget, CYCLE_SLACK):
            hardware = connected(apply_folding(self.graph, choice.folding))
            if (rate := self._clock(self._fmax(hardware)) / choice.interval) > most:
                best, most = choice.interval, rate
        design = self._fit_budget(self.search, budget, best)
        return design.with_clock(self._clock(design.fmax) or self.clock_mhz)

    def _clock(self, estimated: Fmax | None) -> float:
        """The clock for a design, in MHz; 0 where the estimated Fmax is below the requested clock."""
        if estimated is None:
            return self.clock_mhz
        if self.config.clock_mhz is None:
            return float(floor(CLOCK_MARGIN * estimated.mhz))
        return self.clock_mhz if estimated.mhz >= self.clock_mhz else 0.0

    def overflow(self, whole: Resources) -> str | None:
        """What of a design with its shell exceeds the device: resources, or else logic cells; None if it fits."""
        cells = fit.logic_cells(self.target, whole)
        return self.device.overflow(whole) or (fit.overflow(cells, cells.estimated) if cells else None)

    def suggestion(self, most_cells: float | None = None) -> str:
        """A sentence that names a folding that would fit, of at most ``most_cells`` logic cells (default: those that
        there are for it)."""
        search = self.search
        if most_cells is not None and most_cells < search.most_cells:
            search = Search(
                self.graph, self.device.family, self.device.capacity, most_cells, self.clock_mhz,
                going_on=provided(self.config.exit_share),
            )  # fmt: skip
        budget = self.budget(MAX_UTILISATION)
        design = self._fit_budget(search, budget)
        used = choose.estimate_resources(design.hardware, self.device.family)
        if not self._within(design, budget):
            over = self._over_limits(used)
            if over and (needs := self._needs(search)):
                return f"even the smallest folding does not fit ({over}: {needs}"
            over = over or self.overflow(used + self._shell_unfolded)
            over = over or f"{used.lut} LUT and {used.bram} BRAM, and routing needs room"
            smallest = f"even the smallest folding does not fit ({over}); take a bigger device or a smaller network"
            return f"{smallest}{self._sparser()}"
        interval = max(node.kernel.interval for node in design.hardware)
        rate, cycles = floor(self.clock_mhz * 1e6 / interval), f"{interval} cycles a frame"
        slower = f"--fps {rate} ({cycles}) is estimated to fit, with {used.lut} LUT and {used.bram} BRAM"
        return f"{slower}{self._sparser()}"

    def _needs(self, search: Search) -> str:
        """The layers that need more of a resource than the limits allow, however they are folded, and the limit that
        they need, as in ``"at least 4 for act1 (requant), 2 for conv1 (depthwise)); give --max-dsp 6 or more ..."``; of
        the first such resource. Empty where there is none."""
        for name, most in self.config.limits.items():
            least = {layer: count for layer, count in search.least(name).items() if count}
            if (total := sum(least.values())) > most:
                largest = sorted(least, key=lambda layer: -least[layer])
                nodes = [self.graph.node(layer) for layer in largest[:NAMED]]
                named = [f"{least[node.name]} for {node.title} by {node.kernel.op}" for node in nodes]
                if rest := sum(least[layer] for layer in largest[NAMED:]):
                    named.append(f"{rest} for others")
                return f"at least {', '.join(named)}); give --max-{name} {total} or more, or take a smaller network"
        return ""

    def _sparser(self) -> str:
        """Where the design is unrolled for a requested rate, the density of weights at which it would fit; or ""."""
        design = self.known_point if self.config.fps is not None else None
        found = design and density_that_fits(design.hardware, self.target, self.budget(MAX_UTILISATION))
        if not found:
            return ""
        density, used = found
        return (
            f"; or prune the network: with {density:.0%} of the weights of each layer (train --prune {1 - density:g}) "
            f"the requested rate is estimated to fit, with {used.lut} LUT"
        )
