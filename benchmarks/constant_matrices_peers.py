"""The peers of ``benchmarks.constant_matrices``: alkaid 0.8.2, and da4ml 0.6, whose successor it is.

Both plan a matrix by each of the greedy methods ``METHODS``; each searches all depths of its decomposition. da4ml is in
no environment of this project: the benchmark is told of an interpreter that has it.
"""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from alkaid.codegen.rtl.verilog import comb as alkaid_verilog
from alkaid.trace import FVArray, HWConfig, trace
from alkaid.trace.passes import fuse_ternary_adders
from alkaid.types import _iter_sum_terms

from benchmarks.kept import kept
from hw.fabric.family import Family
from hw.kernels.constant_matrix import planner
from hw.kernels.constant_matrix.plan import Plan, Term, from_tables

METHODS = "wmc", "wmc-dc", "wmc-pdc", "mc", "mc-dc", "mc-pdc"
OWN = "own"
"""Name of the module as a peer writes it; its ports are ``model_inp`` and ``model_out``."""
_FORM = 2
"""Version of what is kept of a peer's plans."""
_DA4ML = f"""
import json, sys
from importlib.metadata import version
from pathlib import Path
import da4ml, numpy as np
from da4ml.codegen.rtl.verilog import comb
from da4ml.trace import FixedVariableArray, HWConfig, comb_trace
weights, (low, high) = json.loads(sys.argv[1])
weights = np.array(weights, np.float32).T
count = len(weights)
made = []
for method in {METHODS!r}:
    x = FixedVariableArray.from_lhs(
        np.full(count, float(low)), np.full(count, float(high)), np.ones(count), hwconf=HWConfig(1, 1, -1),
        solver_options={{"method0": method}})
    made.append(comb_trace(x, x @ weights))
made = min(made, key=lambda each: each.cost)
text = comb.comb_logic_gen(made, "{OWN}")
source = Path(comb.__file__).parent / "source"
files = {{f"{{p.stem}}.sv": p.read_text() for p in source.rglob("*.v")}}
print(json.dumps([text, int(sum(map(sum, made.inp_kifs))), int(sum(map(sum, made.out_kifs))), version("da4ml"), files]))
"""


class Module(NamedTuple):
    """A module, with the bits of its input and of its output."""

    text: str
    entering: int
    leaving: int


def alkaid(weights: np.ndarray, bounds: tuple[int, int], family: Family) -> tuple[Plan, Module]:
    """alkaid's cheapest plan in our form, and its cheapest as it writes it.

    On 7 series its adders are also fused to adders of three operands."""
    inputs = weights.shape[1]

    def make() -> dict[str, Any]:
        made = []
        for method in METHODS:
            low, high = (np.full(inputs, float(v)) for v in bounds)
            x = FVArray.from_lhs(
                low, high, np.ones(inputs), hwconf=HWConfig(1, 1, -1), solver_options={"method0": method}
            )
            made.append(trace(x, x @ weights.T.astype(np.float32)))
        own = min(made, key=lambda each: each.cost)
        forms = [*made, *map(fuse_ternary_adders, made)]
        text = _plain(alkaid_verilog.comb_logic_gen(own, OWN))
        return {
            "plans": [
                [[[_numbers(t) for t in each] for each in sums], [t and _numbers(t) for t in outputs]]
                for sums, outputs in (converted(each, inputs) for each in forms)
            ],
            "own": [text, int(own.inp_kifs.sum()), int(own.out_kifs.sum())],
        }

    found = kept(["alkaid", version("alkaid"), _FORM, METHODS, weights.tolist(), bounds, True], make)
    plans = [
        from_tables(inputs, bounds, [[Term(*t) for t in each] for each in sums], [t and Term(*t) for t in outputs])
        for sums, outputs in found["plans"][: None if family.lut_inputs >= planner.TERNARY else len(METHODS)]
    ]
    return min(plans, key=lambda plan: plan.luts(family)), Module(*found["own"])


def alkaid_files() -> dict[str, str]:
    """The modules that alkaid's Verilog is made of."""
    return {f"{p.stem}.sv": p.read_text() for p in (Path(alkaid_verilog.__file__).parent / "source").glob("*.v")}


def da4ml(weights: np.ndarray, bounds: tuple[int, int], interpreter: str) -> tuple[Module, dict[str, str]]:
    """da4ml's cheapest plan as it writes it, and the modules that it is made of."""

    def make() -> list[Any]:
        argument = json.dumps([weights.tolist(), bounds])
        command = [interpreter, "-c", _DA4ML, argument]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    text, entering, leaving, found, files = kept(["da4ml", _DA4ML, weights.tolist(), bounds], make)
    if not found.startswith("0.6."):
        raise ValueError(f"{interpreter} has da4ml {found}, expected 0.6")
    return Module(_plain(text), entering, leaving), {name: _plain(text) for name, text in files.items()}


def _numbers(term: Term) -> list[int]:
    return [int(term.source), int(term.shift), int(term.sign)]


def _plain(text: str) -> str:
    return text.replace("`default_nettype none", "")


def converted(made: Any, inputs: int) -> tuple[list[list[Term]], list[Term | None]]:
    """The sums and the outputs of alkaid's operations: -1 input, -2 negation, 0 and 1 sum and difference, 11 sum of
    three, 5 zero."""
    values: list[Term | None] = []
    sums: list[list[Term]] = []

    def scaled(term: Term | None, sign: int, shift: int) -> Term:
        assert term is not None
        return Term(term.source, term.shift + shift, term.sign * sign)

    for op in made.ops:
        if op.opcode == -1:
            values.append(Term(op.data[0], made.inp_shifts[op.data[0]], 1))
        elif op.opcode == -2:
            values.append(scaled(values[op.addr[0]], -1, 0))
        elif op.opcode == 5:
            values.append(None)
        else:
            raw = [(op.addr[0], True, 0), (op.addr[1], op.opcode == 0, op.data[0])] if op.opcode in (0, 1) else None
            terms = [scaled(values[a], 1 if plus else -1, int(k)) for a, plus, k in raw or _iter_sum_terms(op)]
            shift, sign = min(t.shift for t in terms), max(t.sign for t in terms)
            sums.append([Term(t.source, t.shift - shift, t.sign * sign) for t in terms])
            values.append(Term(inputs + len(sums) - 1, shift, sign))
    outputs: list[Term | None] = []
    for index, shift, negated in zip(made.out_idxs, made.out_shifts, made.out_negs, strict=True):
        value = values[index] if index >= 0 else None
        outputs.append(None if value is None else scaled(value, -1 if negated else 1, int(shift)))
    return sums, outputs
