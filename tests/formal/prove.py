"""Proofs over all inputs and all time, by k-induction with Yosys's SAT solver.

The properties are immediate assertions in SystemVerilog modules, bound into the module under proof or in a top of its
own. The base case starts in any state at all with one cycle of reset; later cycles may reset again. The induction
step starts in any state in which the assertions hold, so the modules of properties also assert the invariants that it
needs. Registers are never merged before the proof: those of a model and those of the cell may begin unequal.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import hw
from hw.synth import yosys

# Longest run searched for a counterexample, and longest induction, in cycles.
CYCLES = 16


@dataclass(frozen=True)
class Cell:
    """A module under proof.

    ``modules``: the SystemVerilog modules that the proof needs, each in a file of its name in hw/kernels or here.
    ``reset``: the first cycle is one of reset, and nothing is proven of it; else the cell has no reset.
    """

    top: str
    modules: tuple[str, ...]
    defines: tuple[str, ...] = ()
    reset: bool = True

    @property
    def reached(self) -> str:
        """The signal that is high in a situation worth a proof: it has to be reachable."""
        return "properties.reached" if f"{self.top}.sv" not in FILES else "reached"

    def sources(self) -> dict[str, str]:
        """SystemVerilog text by file name."""
        found = {f"{m}.sv": FILES.get(f"{m}.sv") or next(KERNELS.rglob(f"{m}.sv")) for m in self.modules}
        return {name: path.read_text() for name, path in found.items()}


FILES = {path.name: path for path in Path(__file__).parent.glob("*.sv")}
KERNELS = Path(hw.__file__).parent / "kernels"


def _run(cell: Cell, parameters: dict, sources: dict[str, str], folder: Path, passes: str, options: str) -> str:
    """Run ``sat`` over a cell. Returns Yosys's log. Raises BitfabricError with the first error in the sources."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in sources.items():
        (folder / name).write_text(text)
    given = [f'-G {name}="{v}"' if isinstance(v, str) else f"-G {name}={v}" for name, v in parameters.items()]
    given += [f"-D {name}" for name in cell.defines]
    script = f"""\
read_slang --top {cell.top} {" ".join(given)} {" ".join(sources)}
hierarchy -check -top {cell.top}
proc
chformal -lower
{passes}
flatten
memory_collect
memory_map
opt_expr
opt_clean
sat -tempinduct -set-assumes {"-seq 1 -set-at 1 rst 1" if cell.reset else ""} -maxsteps {CYCLES} {options}
"""
    return yosys.run_script(script, folder, "proof", f"proof of {cell.top}").read_text()


def prove(cell: Cell, parameters: dict, folder: Path) -> int:
    """Prove every assertion in a cell and below it. Returns the length of the induction that closes, in cycles.

    Raises AssertionError where the induction does not close, or nothing is asserted.
    """
    log = _run(cell, parameters, cell.sources(), folder, "", "-prove-asserts")
    assert "Import proof for assert" in log
    assert "Induction step proven: SUCCESS!" in log, f"not proven: {folder}/proof.log"
    return log.count("** Trying induction with length")


def counterexample(cell: Cell, parameters: dict, sources: dict[str, str], folder: Path) -> int | None:
    """Cycles of the shortest run from reset that breaks an assertion; None if no run of CYCLES cycles does."""
    return _found(_run(cell, parameters, sources, folder, "", "-tempinduct-baseonly -prove-asserts"))


def reaching(cell: Cell, parameters: dict, folder: Path) -> int | None:
    """Cycles of the shortest run from reset to a cycle in which ``cell.reached`` is high; None as above."""
    options = f"-tempinduct-baseonly -prove {cell.reached} 0"
    return _found(_run(cell, parameters, cell.sources(), folder, "chformal -assert -remove", options))


def _found(log: str) -> int | None:
    if "model found for base case: FAIL!" in log:
        return log.count("** Trying induction with length")
    assert re.search(r"Reached maximum number of time steps", log)
    return None
