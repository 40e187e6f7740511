"""The collected results of the steps of a build, and the build report made from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.build_report import (
    SHELL,
    Bitstream,
    BuildReport,
    Check,
    Cycles,
    Estimate,
    FmaxMhz,
    Inputs,
    Layer,
    Link,
    ModelFile,
    StepTime,
    Timing,
    Usage,
    Utilisation,
)
from flows.config import STEPS, BuildConfig
from flows.files import sha256
from flows.implementation import Implementation
from flows.steps.compare_finn import FinnEstimated
from flows.steps.emulate import Emulated
from flows.steps.lower import Lowered
from flows.steps.netlist import NetlistSimulated
from flows.steps.place import Placed
from flows.steps.rtl import Generated
from flows.steps.simulate import Simulated
from flows.steps.synthesise import Synthesised
from flows.tools import tools
from flows.verify import equal
from hw.boards import driver_folder


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

    def report(
        self, made: Implementation, config: BuildConfig, inputs: Inputs | None, steps: Sequence[StepTime]
    ) -> BuildReport:
        """The report of the build; for a board it also writes the driver's folder."""
        fold, clock = self.fold, self.fold.clock_mhz
        fmax = self.place.fmax_mhz if self.place else None
        bitstream = f"place/{self.place.bitstream}" if self.place and self.place.bitstream else None
        link = made.interface() if bitstream else None
        if link:
            driver_folder.write(made.folder / "driver", link)
        simulated = self.simulate
        return BuildReport(
            schema=2,
            model=ModelFile(path=str(made.model.path), sha256=made.model.sha256),
            target=config.target,
            device=made.device.name,
            clock_mhz=clock,
            stopped_after=config.stop_after if config.stop_after != STEPS[-1] else None,
            folding=fold.folding,
            fifos=fold.fifos,
            parity=made.point.parity,
            cycles=Timing(
                interval=Cycles(estimated=fold.interval, simulated=simulated.interval if simulated else None),
                latency=Cycles(estimated=fold.latency, simulated=simulated.latency if simulated else None),
            ),
            fps=clock * 1e6 / fold.interval,
            fps_at_fmax=fmax * 1e6 / fold.interval if fmax else None,
            host_link=fold.host_link,
            latency_us=fold.latency / clock,
            resources=self._utilisation(made),
            layers=self._layers(made),
            fmax_mhz=FmaxMhz(estimated=fold.fmax_mhz, placed=fmax),
            critical_path=self.place.critical_path if self.place else None,
            warnings=fold.warnings,
            inputs=inputs,
            verified=self._verified(),
            bitstream=Bitstream(path=bitstream, sha256=sha256(made.folder / bitstream)) if bitstream else None,
            link=Link(model=f"{link.model:016x}", baud=link.baud) if link else None,
            finn=self.finn.estimate if self.finn else None,
            products=self._products(bitstream),
            tools=tools(made.family.name),
            steps=tuple(steps),
        )

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
        layers = [layer.model_copy(update={"resources": synthesised.layers[layer.name]}) for layer in self.fold.layers]
        if made.image:
            layers.append(
                Layer(name=SHELL, operator="board and link", PE=None, SIMD=None, M=None, cycles=None, estimated=None,
                      parity=False, resources=synthesised.rest)
            )  # fmt: skip
        return tuple(layers)

    def _products(self, bitstream: str | None) -> dict[str, str]:
        products = {"model": "lower/model.onnx", "folding": "fold/folding.json"}
        if self.rtl:
            products["RTL"] = f"rtl/{self.rtl.top}.sv"
        if self.synthesise:
            products["netlist"] = f"synthesise/{self.synthesise.netlist}"
        if bitstream:
            products |= {"bitstream": bitstream, "driver": "driver"}
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
