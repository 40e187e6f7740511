"""The options of a build."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hw.fabric.resources import Resources
from hw.host.errors import UsageError
from hw.host.protocol import BENCHMARK_FRAMES

StepName = Literal["lower", "fold", "emulate", "rtl", "simulate", "synthesise", "place", "netlist"]
STEPS: tuple[StepName, ...] = get_args(StepName)
"""The steps of a build, in order."""


@dataclass(frozen=True)
class BuildConfig:
    """Options of a build.

    One of three options chooses the folding: ``fps`` (frames per second at ``clock_mhz``: the cheapest folding that
    reaches this rate), ``folding`` (a file in FINN's JSON form), ``fill`` (the fastest design that fits the device).
    By default it is the fastest design within a quarter of the device; where that holds none, within half of it, and
    then within the budget of ``fill``, at a clock that it is estimated to reach. Kernels for low rates (folded lookup
    networks) are in it only where the device has no room for any other.

    The engines are verified on ``frames`` with ``labels`` (``.npy`` files), or on random frames. ``rtl_frames`` and
    ``netlist_frames`` are the numbers of frames for the slower engines; None means a number that simulates in a minute
    or two.

    A clock of more than 1.3 times the estimated Fmax ends a build after ``fold``, if it is requested or the build
    places the design; ``force_clock`` lets it go on.

    Where the model's input has an integer type, frames with other values are rounded and clipped, and the values are
    counted; more than 1 % of them are an error without ``clip``.

    ``parity`` adds a parity bit to every word of weights, thresholds and requant parameters in block RAM. The bit is
    checked whenever the word is used, which costs no cycles; the image counts the cycles with a parity error
    (``parity_errors`` of its status). Constants in lookup tables have no parity bit: they are configuration bits.

    ``benchmark_frames`` is the number of frames that the image of a board holds in block RAM and can replay at full
    rate, with a checksum of all outputs and a counter of cycles; 0: it has no benchmark.

    ``power`` counts the toggles of the netlist after synthesis, on ``netlist_frames`` frames.

    ``exit_share`` is the share of frames that go on at each early exit: layers behind an exit are folded for these
    alone (busy 80 % of the time), so that ``fps`` is a mean rate, and FIFOs hold what comes at once. 1, the default,
    promises the rate for all frames, whatever leaves.

    ``limits`` are the most resources of the device by name ("lut", "ff", "bram", "dsp"; 0: none) that the accelerator
    may take, without a board's shell, as estimated: the rest of the device is for others.

    ``seeds`` are the seeds of place and route; the others are tried if the first one misses the clock.

    Raises UsageError for values that are out of range or exclude each other, and for files that are missing.
    """

    target: str
    fps: float | None = None
    folding: Path | None = None
    fill: bool = False
    clock_mhz: float | None = None
    force_clock: bool = False
    stop_after: str = STEPS[-1]
    frames: Path | None = None
    labels: Path | None = None
    clip: bool = False
    rtl_frames: int | None = None
    netlist_frames: int | None = None
    compare_finn: bool = False
    power: bool = False
    parity: bool = False
    benchmark_frames: int = 0
    exit_share: float = 1.0
    limits: Mapping[str, int] = field(default_factory=dict)
    seeds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if sum((self.fps is not None, self.folding is not None, self.fill)) > 1:
            raise UsageError("--fps, --folding and --fill exclude each other; give one of them")
        for what, path in (("folding", self.folding), ("frames", self.frames), ("labels", self.labels)):
            if path is not None and not path.is_file():
                raise UsageError(f"no {what} file {path}")
        if self.fps is not None and not self.fps > 0:
            raise UsageError(f"--fps {self.fps} must be positive")
        if not 0 <= self.exit_share <= 1:
            raise UsageError(f"--exit-share {self.exit_share:g} is the share of frames that go on, from 0 to 1")
        for name, most in self.limits.items():
            if name not in vars(Resources()) or isinstance(most, bool) or not isinstance(most, int) or most < 0:
                raise UsageError(
                    f"a limit {name}={most!r} is no whole number, of 0 or more, of {', '.join(vars(Resources()))}"
                )
        if self.clock_mhz is not None and not 1 <= self.clock_mhz <= 1000:
            raise UsageError(f"--clock {self.clock_mhz} must lie between 1 and 1000 MHz")
        if self.stop_after not in STEPS:
            raise UsageError(f"no step {self.stop_after}; the steps are {', '.join(STEPS)}")
        if self.labels is not None and self.frames is None:
            raise UsageError("--labels needs the frames they belong to; give --input X.npy as well")
        if any(n is not None and n < least for n, least in ((self.rtl_frames, 2), (self.netlist_frames, 1))):
            raise UsageError("the RTL is checked on at least 2 frames, the netlist on at least 1")
        if self.power and STEPS.index(self.stop_after) < STEPS.index("synthesise"):
            raise UsageError("--power counts the toggles of a netlist; give no --stop-after before synthesise")
        least, most = BENCHMARK_FRAMES
        if self.benchmark_frames and not least <= self.benchmark_frames <= most:
            raise UsageError(
                f"--benchmark-frames {self.benchmark_frames} must be 0, or lie between {least} and {most:,}"
            )
        if not self.seeds:
            raise UsageError("place and route needs at least one seed")
