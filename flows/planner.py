"""The choice of a design point for a model on a target, and its estimate before synthesis."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import cached_property
from math import floor, inf

from flows import fit, rates
from flows.candidate import CLOCK_MARGIN, ESTIMATE_ERROR, Candidate
from flows.config import BuildConfig
from flows.design_point import DesignPoint
from flows.facts.design import Counts, Estimate, FoldingChoice, HostLink, Layer, Neighbour
from flows.facts.network import ExpectedExits
from flows.lookup_counts import lookup_tables
from hw.boards.targets import find_target
from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.folding import choose, finn_json
from hw.folding.search import Choice, Search
from hw.host.errors import BitfabricError, ToolError, UsageError
from hw.host.protocol import BENCHMARK_FRAMES
from hw.ir.graph import Graph
from hw.ir.verdicts import branches
from hw.model import Model
from hw.passes.removal.remove import Removal
from hw.timing import cycles
from hw.timing.exits import affordable, drawn, pace

CLOCK_ERROR = 1.3
"""A clock that exceeds the estimated Fmax by more than this factor ends a build before synthesis."""
GRANULARITIES = (1, 2, 4, 8)
"""Multiples down to which channels that do nothing are removed: the design takes the best, or removes none.

Fewer channels are not always cheaper: 61 of 64 have no folding but 1 and 61.
"""
NEIGHBOUR = 1.05
"""Least ratio of cycles between a design and the designs of the next rates."""


def clock_warning(clock_mhz: float, fmax_mhz: float, slowest: str) -> str:
    """A sentence on a clock above the estimated Fmax, with a clock that is likely to be met."""
    return (
        f"the clock of {clock_mhz:g} MHz is {clock_mhz / fmax_mhz:.2f} times the estimated Fmax of {fmax_mhz:.0f} MHz, "
        f"which {slowest} limits; --clock {max(1, floor(CLOCK_MARGIN * fmax_mhz))} is likely to be met"
    )


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
        self._granularity = granularity

    def _candidate(self, granularity: int) -> Candidate:
        return Candidate(self.model, self.config, self.target, granularity)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates of all granularities that remove other channels; first the one that removes none."""
        if self._granularity is not None:
            return (self._candidate(self._granularity),)
        if self.config.folding is not None:
            return (self._candidate(finn_json.granularity_of(self.config.folding)),)
        found = [self._candidate(0)]
        sizes: list[list[int]] = []
        for granularity in () if self.model.frontend.folded else GRANULARITIES:
            candidate = self._candidate(granularity)
            if not candidate.removal.layers:
                break
            kept = [int(each.sum()) for each in candidate.removal.kept.values()]
            if kept not in sizes:
                sizes.append(kept)
                found.append(candidate)
        return tuple(found)

    @cached_property
    def best(self) -> Candidate:
        """That with the best design, of equal ones that which removes most. Raises BitfabricError where there is none,
        as the one with all channels does."""
        first, *others = self.candidates
        if not others:
            return first
        ranks: list[tuple[tuple[float, ...], Candidate]] = []
        error: BitfabricError | None = None
        for candidate in self.candidates:
            try:
                ranks.append((candidate.rank(), candidate))
            except ToolError:
                raise
            except BitfabricError as why:
                error = error or why
        if not ranks:
            assert error is not None
            raise error
        return min(ranks, key=lambda each: (each[0], _removes(each[1])))[1]

    @property
    def removal(self) -> Removal:
        """The model's dataflow graph, and the one without channels that do nothing."""
        return self.best.removal

    @property
    def graph(self) -> Graph:
        """The dataflow graph that is folded, with parity bits if requested."""
        return self.best.graph

    @property
    def search(self) -> Search:
        """All foldings. Raises BitfabricError where the device clearly has no room for the weights."""
        return self.best.search

    @property
    def point(self) -> DesignPoint:
        """The design from the folding file, for the rate, as the model itself is folded, or for the area."""
        return self.best.point

    @property
    def known_point(self) -> DesignPoint | None:
        """The design point, if it has been chosen already."""
        best: Candidate | None = vars(self).get("best")
        return best.known_point if best else None

    def estimate(self) -> Estimate:
        """Folding, FIFOs, cycles and resources as estimated.

        Raises BitfabricError where the estimate is clearly over the device, and UsageError for parity without memories.
        """
        design, family = self.point, self.device.family
        hardware = design.hardware
        steady = cycles.steady_state(hardware)
        used = choose.estimate_resources(hardware, family)
        whole = used + self.best.shell(hardware)
        cells = fit.logic_cells(self.target, whole)
        if over := self.best.excess(design):
            raise BitfabricError(
                f"{self.model.path.name} is estimated to need more than the limits on {self.config.target}: {over}; "
                f"{self.best.suggestion()}"
            )
        # The estimate is not exact: only a clear excess ends the build before synthesis.
        if over := self.device.overflow(Resources(*(int(v / ESTIMATE_ERROR) for v in vars(used).values()))):
            raise BitfabricError(
                f"{self.model.path.name} does not fit {self.config.target} as folded: the estimate is {used.lut} LUT "
                f"and {used.bram} BRAM, and if that is 30 % too high, it is still {over}; {self.best.suggestion()}"
            )
        if self.config.parity and not any(node.kernel.has_parity(family) for node in hardware):
            raise UsageError(
                f"--parity protects memories in block RAM, and {self.model.path.name} has none as folded; ask for "
                "fewer frames/s, which makes memories deeper, or leave --parity out"
            )
        link, warnings = self._host_link(steady)
        warnings = (*self.best.folding_file.remarks, *warnings)
        if over := self.best.overflow(whole):
            warnings += (f"the estimate does not fit the device: {over}; {self.best.suggestion()}",)
        if design.fmax is not None and design.clock_mhz > design.fmax.mhz:
            warnings += (clock_warning(design.clock_mhz, design.fmax.mhz, self._title(design.fmax.slowest)),)
        tables = lookup_tables(design.removal.graph)
        return Estimate(
            **design.to_json() | ({"lookup": tables.to_json()} if tables else {}) | self._exits(hardware),
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

    def _exits(self, hardware: Graph) -> dict[str, object]:
        """What is expected of early exits; empty without any."""
        if not branches(hardware):
            return {}
        going_on, clock_mhz = self.config.exit_share, self.point.clock_mhz
        taken = pace(hardware, drawn(hardware, affordable(hardware), going_on))
        expected = ExpectedExits(going_on=going_on, interval=taken.interval, fps=clock_mhz * 1e6 / taken.interval)
        return {"exits": expected.to_json()}

    def _host_link(self, steady: cycles.SteadyState) -> tuple[HostLink | None, tuple[str, ...]]:
        """The rates of the image; a warning instead where the board cannot have the clock."""
        try:
            return rates.of_image(self.point, self.target, steady.interval, steady.latency), ()
        except BitfabricError as error:
            return None, (f"no image can be made: {error}",)

    def check_benchmark(self, estimate: Estimate) -> None:
        """Raise UsageError for a benchmark without a board, and BitfabricError where its frames need more block RAM
        than the design is estimated to leave."""
        frames = self.config.benchmark_frames
        if not frames:
            return
        if self.target.board is None:
            raise UsageError(
                f"--benchmark-frames is for the image of a board, and {self.config.target} is a bare device"
            )
        have, used = self.device.capacity.bram, estimate.resources.bram

        def blocks(frames: int) -> int:
            return fit.shell(self.target, self.point.hardware, frames).bram

        if used + blocks(frames) <= have:
            return
        fits = bisect_right(range(frames), have - used, key=blocks) - 1
        remedy = f"give at most {fits}" if fits >= BENCHMARK_FRAMES[0] else "leave it out, or ask for a lower rate"
        raise BitfabricError(
            f"--benchmark-frames {frames} needs about {blocks(frames)} block RAMs beside the {used} of the design, "
            f"and {self.device.name} has {have}; {remedy}"
        )

    def check_cells(self, estimate: Estimate) -> None:
        """Raise BitfabricError where the design clearly needs more logic cells than there are: it cannot be placed."""
        cells = estimate.logic_cells
        if cells and (over := fit.overflow(cells, int(cells.estimated / ESTIMATE_ERROR))):
            raise BitfabricError(
                f"{self.model.path.name} does not fit {self.config.target} as folded: the estimate is "
                f"{cells.estimated} {cells.name}, and if that is 30 % too high, it is still {over}; "
                f"{self.best.suggestion()}"
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
            f"{self.best.suggestion(self._fewer_cells(needed))}"
        )

    def _fewer_cells(self, needed: int | None) -> float:
        """A limit on logic cells that is clearly below those of this design, which needs ``needed`` of them."""
        hardware = self.point.hardware
        around = self.best.shell(hardware)
        most, packing = fit.most_cells(self.target, around), fit.packing_of(self.target)
        if packing is None:
            return most
        used = choose.estimate_resources(hardware, self.device.family)
        whole = fit.logic_cells(self.target, used + around)
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
        by, design = self.best.chosen
        if by in ("rate", "folding", "model"):
            return FoldingChoice(by=by, in_dsps=False, slower=None, faster=None)
        interval = self.best.mean_cycles(design)
        intervals = self.search.intervals
        # Where layers in logic are the cheapest, the cheapest folding of a longer interval may be as fast as this one.
        after = bisect_left(intervals, True, key=lambda cycles: self._cheapest(cycles).interval >= NEIGHBOUR * interval)
        before = bisect_right(intervals, interval / NEIGHBOUR) - 1
        return FoldingChoice(
            by=by,
            in_dsps=self.best.in_dsps,
            slower=self._neighbour(intervals[after], design) if after < len(intervals) else None,
            faster=self._neighbour(intervals[before], design) if before >= 0 else None,
        )

    def _cheapest(self, cycles: int) -> Choice:
        """The cheapest folding of at most ``cycles`` cycles per frame, an interval of the search."""
        choice = self.search.cheapest(cycles)
        assert choice is not None, "an interval of the search has a folding"
        return choice

    def _neighbour(self, cycles: int, design: DesignPoint) -> Neighbour:
        """The cheapest folding of at most ``cycles`` cycles per frame, at the clock of ``design``; if there is one,
        within the limits."""
        choice = self.search.cheapest(cycles, self.best.limit) or self._cheapest(cycles)
        return Neighbour(
            fps=design.clock_mhz * 1e6 / choice.interval,
            interval=choice.interval,
            resources=Counts(**vars(choice.used)),
            fits=self.best.has_room_for(choice.used, design.hardware),
        )

    def pareto_front(self) -> list[tuple[Choice, dict[str, int]]]:
        """The Pareto front of rate and resources on the device, of all ``candidates`` together, the fastest first.

        Each choice is with the ``granularity`` of the removal of channels where it has one.
        """
        every = [
            (choice, candidate)
            for candidate in self.candidates
            for choice in candidate.search.pareto_front(self.device.capacity)
        ]
        found: list[tuple[Choice, Candidate]] = []
        for choice, candidate in sorted(every, key=lambda each: (each[0].interval, each[0].cost, _removes(each[1]))):
            if not any(candidate.search.dominates(faster, choice) for faster, _ in found):
                found.append((choice, candidate))
        return [(choice, {"granularity": each.granularity} if each.granularity else {}) for choice, each in found]

    def line_fps(self) -> float | None:
        """Frames per second that the line of the host link carries, whatever the folding; None where there is none."""
        try:
            return rates.of_line(self.graph, self.target, self.clock_mhz)
        except BitfabricError:
            return None


def _removes(candidate: Candidate) -> float:
    """Less for a candidate that removes more channels."""
    return candidate.granularity or inf
