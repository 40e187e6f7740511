"""The collected results of the steps of a build, and the build report made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import ValidationError

from flows.build_report import (
    Bitstream,
    BuildReport,
    Cycles,
    FmaxMhz,
    Link,
    ModelFile,
    StepTime,
    Timing,
    Usage,
    Utilisation,
)
from flows.config import STEPS, BuildConfig
from flows.evidence import DRIVER, Record
from flows.facts.checks import Check, Inputs
from flows.facts.design import SHELL, Estimate, Layer, LogicCells
from flows.facts.fact import Facts
from flows.facts.network import Exits
from flows.implementation import Implementation
from flows.steps.compare_finn import FinnEstimated
from flows.steps.emulate import Emulated
from flows.steps.lower import Lowered
from flows.steps.netlist import NetlistSimulated
from flows.steps.place import Placed
from flows.steps.power import PowerCounted
from flows.steps.rtl import Generated
from flows.steps.simulate import Simulated
from flows.steps.synthesise import Synthesised
from flows.tools import tools
from flows.verify import equal
from hw.boards import driver_folder
from hw.host.errors import UsageError
from hw.host.interface import Interface
from hw.model import Model

RESULTS: Mapping[str, type[Facts]] = MappingProxyType({
    "lower": Lowered, "fold": Estimate, "emulate": Emulated, "rtl": Generated, "simulate": Simulated,
    "synthesise": Synthesised, "place": Placed, "netlist": NetlistSimulated, "finn": FinnEstimated,
    "power": PowerCounted,
})  # fmt: skip
"""The type of every step's result."""


def _model_file(model: Model) -> ModelFile:
    """The model, with the types that the user gave to its inputs, and what its numbers mean."""
    types: dict[str, Any] = {"input_types": model.input_types} if model.input_types else {}
    return ModelFile(path=str(model.path), sha256=model.sha256, **types, **model.meaning.to_json())


def _link(interface: Interface) -> Link:
    return Link(model=f"{interface.model:016x}", transport=interface.transport, baud=interface.baud)


@dataclass
class Found:
    """The results of the steps; None for steps that were not done."""

    lower: Lowered
    fold: Estimate
    emulate: Emulated | None = None
    rtl: Generated | None = None
    simulate: Simulated | None = None
    synthesise: Synthesised | None = None
    place: Placed | None = None
    netlist: NetlistSimulated | None = None
    finn: FinnEstimated | None = None
    power: PowerCounted | None = None

    def report(
        self, made: Implementation, config: BuildConfig, inputs: Sequence[Inputs], steps: Sequence[StepTime]
    ) -> BuildReport:
        """The report of the build, without its evidence; for a board it also writes the driver's folder."""
        facts = self._facts(made.products)
        link = made.interface() if facts["bitstream"] else None
        if link:
            driver_folder.write(made.folder / DRIVER, link)
        return BuildReport(
            schema=2,
            model=_model_file(made.model),
            target=config.target,
            device=made.device.name,
            stopped_after=config.stop_after if config.stop_after != STEPS[-1] else None,
            parity=made.point.parity,
            benchmark_frames=made.benchmark,
            resources=self._utilisation(made),
            layers=self._layers(made),
            inputs=inputs[0] if inputs else None,
            other_inputs=tuple(inputs[1:]),
            link=_link(link) if link else None,
            tools=tools(made.family.name),
            steps=tuple(steps),
            **facts,
        )

    @classmethod
    def of(cls, folder: Path, records: Mapping[str, Record]) -> Self:
        """The results in the records of a build. Raises UsageError where this version has results of other types."""
        try:
            results: dict[str, Any] = {step: RESULTS[step].model_validate(r.result) for step, r in records.items()}
            return cls(**results)
        except (KeyError, TypeError, ValidationError):
            raise UsageError(f"{folder} is of another version of bitfabric; build again") from None

    def contradiction(self, report: BuildReport, products: Mapping[str, str]) -> str | None:
        """The first key of a report that does not follow from these results; None where all do."""
        facts = self._facts(products)
        return next((key for key, value in facts.items() if getattr(report, key) != value), None)

    def _facts(self, made: Mapping[str, str]) -> dict[str, Any]:
        """The part of the report that follows from the results alone. ``made``: hash of every product, by path."""
        fold, clock, simulated = self.fold, self.fold.clock_mhz, self.simulate
        fmax = self.place.fmax_mhz if self.place else None
        bitstream = f"place/{self.place.bitstream}" if self.place and self.place.bitstream else None
        return {
            "clock_mhz": clock,
            "folding": fold.folding,
            "fifos": fold.fifos,
            "cycles": Timing(
                interval=Cycles(estimated=fold.interval, simulated=simulated.interval if simulated else None),
                latency=Cycles(estimated=fold.latency, simulated=simulated.latency if simulated else None),
            ),
            "fps": clock * 1e6 / fold.interval,
            "fps_at_fmax": fmax * 1e6 / fold.interval if fmax else None,
            "choice": fold.choice,
            "host_link": fold.host_link,
            "logic_cells": self._logic_cells(),
            "latency_us": fold.latency / clock,
            "fmax_mhz": FmaxMhz(estimated=fold.fmax_mhz, placed=fmax),
            "critical_path": self.place.critical_path if self.place else None,
            "timing_paths": self.place.timing_paths if self.place else None,
            "pin_clocks": self.place.pin_clocks if self.place else (),
            "warnings": (*fold.warnings, *self._unplaced()),
            "removed": fold.removed,
            "lookup": fold.lookup,
            "exits": self._exits(),
            "verified": self._verified(),
            "bitstream": Bitstream(path=bitstream, sha256=made[bitstream]) if bitstream else None,
            "finn": self.finn.estimate if self.finn else None,
            "power": self.power.power if self.power else None,
            "products": self._products(bitstream),
        }

    def _unplaced(self) -> tuple[str, ...]:
        """Why there is no bitstream, where tools were missing."""
        return (self.netlist.unplaced,) if self.netlist and self.netlist.unplaced else ()

    def _exits(self) -> Exits | None:
        expected, measured = self.fold.exits, self.emulate.exits if self.emulate else None
        return None if expected is None else Exits(expected=expected, measured=measured)

    def _logic_cells(self) -> LogicCells | None:
        cells = self.fold.logic_cells
        if cells is None or self.synthesise is None:
            return cells
        return cells.model_copy(update={"used": self.synthesise.logic_cells})

    def _utilisation(self, made: Implementation) -> Utilisation:
        used = self.synthesise.resources.to_json() if self.synthesise else {}
        estimated, available = self.fold.resources.to_json(), vars(made.device.capacity)
        return Utilisation(**{
            name: Usage(used=used.get(name), available=available[name], estimated=estimated[name])
            for name in available
        })  # fmt: skip

    def _layers(self, made: Implementation) -> tuple[Layer, ...]:
        """The nodes, with their part of the netlist where there is one, and the board's shell."""
        synthesised = self.synthesise
        if synthesised is None:
            return self.fold.layers
        layers = [
            layer.model_copy(
                update={"resources": synthesised.layers[layer.name], "luts": synthesised.luts.get(layer.name)}
            )
            for layer in self.fold.layers
        ]
        if made.image:
            layers.append(
                Layer(name=SHELL, operator="board and link", PE=None, SIMD=None, M=None, cycles=None, estimated=None,
                      parity=False, resources=synthesised.rest, luts=synthesised.rest_luts)
            )  # fmt: skip
        return tuple(layers)

    def _products(self, bitstream: str | None) -> dict[str, str]:
        products = {"model": "lower/model.onnx", "folding": "fold/folding.json"}
        if self.rtl:
            products["RTL"] = f"rtl/{self.rtl.top}.sv"
        if self.synthesise:
            products["netlist"] = f"synthesise/{self.synthesise.netlist}"
        if bitstream:
            products |= {"bitstream": bitstream, DRIVER: DRIVER}
        if self.place:
            products["placed netlist"] = f"place/{self.place.netlist}"
        return products | {"report": "build.json"}

    def _verified(self) -> dict[str, Check]:
        verified = {}
        if emulated := self.emulate:
            reference, accuracy = next(iter(emulated.accuracy.items()))
            counts = equal(emulated.frames, emulated.elements)
            verified[reference] = Check.model_validate({**counts, "accuracy": accuracy})
            verified["emulator"] = Check(**emulated.to_json() | {"accuracy": emulated.accuracy["emulator"]})
        if rtl := self.simulate:
            verified["rtl"] = Check(**rtl.to_json())
        if netlist := self.netlist:
            verified["netlist"] = Check(**netlist.to_json())
        return verified
