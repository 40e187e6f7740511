"""``python -m tests.words``: old names and turns of phrase that must not come back. Part of ``make check``.

Every entry says what to write instead.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("hw", "quant", "flows", "tests", "benchmarks", "docs")
IDENTIFIERS = {
    r"\bWire\b": "IntegerTensor",
    r"\b_settle\b": "_quantize_before_branch",
    r"\b_idle\b": "_is_redundant_quantizer",
    r"\b(?:schedule|plan)\.(?:takes|gives|actions|places)\b": "consumes, produces, firings, input_registers",
    r"\.(?:protected|checked)\(": "with_parity(), has_parity(family)",
    r"\b(?:interface|link)\.(?:taken|given|entry|exits)\b": "input_format, output_format, preprocess, postprocess",
    r"\b(?:QUARTER|AROUND|SURE)\b": "DEFAULT_UTILISATIONS, CYCLE_SLACK, CLOCK_MARGIN",
    r"\b(?:INSIDE|GIVEN|APART|EXTRA_BITS|RECALL)\b": "ELEMENTS, WINDOWS, SERIAL_OPERAND, OFFSET_BITS, WEIGHT_LATENCY",
    r"\bupset\b": "parity_error",
    r"\bclass (?:Account|Limits|Design)\b": "StallBreakdown; PllLimits or Bottlenecks; RtlDesign or DesignPoint",
    r"\bcycles\.pace\b": "steady_state",
    r"\bmodule (?!bf_)(?:add|fifo|link|meet|alike|times|gather|reduce|loop)\b": "modules have the prefix bf_",
}
PHRASES = {
    r"\bwhat is left of\b": "the rest of, the remaining ...",
    r"\bso many times as\b": "a factor of",
    r"\bhangs? (?:not )?on the\b": "depends on",
    r"\bis no more than\b.*\bthan\b": "at most",
    r"^(?:<<<<<<<|>>>>>>>) ": "what both sides of the merge meant",
}


def findings() -> list[str]:
    """Lines with an old name or phrase, as ``file:line: 'found'; write ...``."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".py", ".sv", ".md") or "expected" in path.parts or path == Path(__file__):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for pattern, instead in (IDENTIFIERS | PHRASES).items():
                    if match := re.search(pattern, line):
                        found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; write {instead}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(findings()) or None)
