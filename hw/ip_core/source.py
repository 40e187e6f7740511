"""One SystemVerilog file of a design: all modules under a prefix, with the contents of all memories inside.

Memory files become constants of a package, and the names of files in parameters become numbers. Where a module reads a
file (``$readmemh``), it gets a branch for every file, chosen by that number, which copies the constant.
"""

import re
from collections.abc import Iterator, Mapping

from hw.host.errors import BitfabricError, UsageError
from hw.rtl.design import RtlDesign

_MODULE = re.compile(r"^module (\w+)", re.MULTILINE)
_READS = (
    (
        re.compile(
            r"initial begin\s+if \(INDEX < 0\) \$readmemh\(FILE, mem\);\s+"
            r'else \$readmemh\(\$sformatf\("%s%0d\.hex", FILE, INDEX\), mem\);\s+end'
        ),
        ("FILE", "INDEX", "DEPTH", "WIDTH"),
    ),
    (
        re.compile(r'initial \$readmemh\(\$sformatf\("%s%0d\.hex", STEM, FIRST \+ r \* SLICES \+ s\), mem\);'),
        ("STEM", "FIRST + r * SLICES + s", "WORDS", "HERE"),
    ),
)
"""A module's reading of a memory file, and the names of: the file or its stem, the number, words, bits of a word."""


def single_file(design: RtlDesign, top: str, prefix: str, wrapper: str, heading: str) -> str:
    """The text of ``design`` and of a ``wrapper`` around it, whose module ``top`` is the only one without ``prefix``.

    ``heading`` are comment lines. Raises UsageError for a ``top`` that is also the name of another module, and
    BitfabricError for a module that reads a memory file in a way of its own.
    """
    sources = {name: design.files[name] for name in design.verilog if name != f"{design.top}.sv"}
    main = design.files[f"{design.top}.sv"]
    contents = {name: text.split() for name, text in design.files.items() if name.endswith(".hex")}
    package = f"{prefix}memories"
    stems = {stem: index for index, stem in enumerate(dict.fromkeys(re.findall(r'\("(\w+(?:\.hex)?)"\)', main)))}
    parts = [_with_memories(name, text, stems, contents, package) for name, text in sources.items()]
    for stem, number in stems.items() if contents else ():
        if any(file == stem or re.fullmatch(rf"{stem}\d+\.hex", file) for file in contents):
            main = main.replace(f'("{stem}")', f"(32'd{number})")
    whole = "\n".join([*parts, main, wrapper])
    modules = _MODULE.findall(whole)
    taken = {package, *(f"{prefix}{module}" for module in modules if module != top)}
    if top in taken or modules.count(top) > 1:
        raise UsageError(
            f"--name {top!r} is also the name of a module inside of the core: choose another one, or another --prefix"
        )
    names = sorted(set(modules) - {top}, key=len, reverse=True)
    whole = re.sub(rf"\b({'|'.join(names)})\b", rf"{prefix}\1", whole)
    whole = re.sub(r"^`default_nettype \w+\n+", "", whole, flags=re.MULTILINE)
    memories = f"package {package};\n{''.join(_constants(contents))}endpackage\n\n" if contents else ""
    return f"{heading}`default_nettype none\n\n{memories}{whole}\n`default_nettype wire\n"


def _constants(contents: Mapping[str, list[str]]) -> Iterator[str]:
    """A constant of every memory, word 0 in the low bits; words are whole hexadecimal digits."""
    for name, words in contents.items():
        bits = 4 * len(words[0]) * len(words)
        lines = [words[i : i + 8] for i in range(0, len(words), 8)]
        text = ",\n      ".join(
            f"{4 * len(words[0]) * len(line)}'h{''.join(reversed(line))}" for line in reversed(lines)
        )
        yield f"  localparam logic [{bits - 1}:0] {_constant(name)} = {{\n      {text}}};\n"


def _constant(file: str) -> str:
    return file.removesuffix(".hex")


def _with_memories(
    name: str, text: str, stems: Mapping[str, int], contents: Mapping[str, list[str]], package: str
) -> str:
    """A source with the reading of memory files replaced; ``stems``: file, or stem of files -> its number."""
    for pattern, names in _READS:
        text = pattern.sub(_branches(names, stems, contents, package).replace("\\", r"\\"), text)
    # Icarus 11 does not pass on a continuous assignment from a memory's word that an initial block has written.
    text = text.replace("assign data = mem[0];", "always_comb data = mem[0];")
    if re.search(r"\$readmem\w*\(", text):
        raise BitfabricError(
            f"{name} reads a memory file in a way that cannot be put into one file; read constants through bf_rom, "
            "bf_lookup or bf_weight_memory"
        )
    return text


def _branches(
    names: tuple[str, str, str, str], stems: Mapping[str, int], contents: Mapping[str, list[str]], package: str
) -> str:
    """A generate branch for every memory file: it copies the constant to ``mem``."""
    stem, number, words, bits = names
    found = []
    for index, (file, lines) in enumerate(contents.items()):
        conditions = [f"{stem} == 32'd{stems[file]} && {number} < 0"] if stem == "FILE" and file in stems else []
        digits = re.search(r"\d+$", _constant(file))
        for length in range(1, len(digits[0]) + 1) if digits else ():
            base, count = _constant(file)[:-length], _constant(file)[-length:]
            if base in stems and str(int(count)) == count:
                conditions.append(f"{stem} == 32'd{stems[base]} && {number} == {count}")
        if conditions:
            size = 4 * len(lines[0])
            found.append(
                f"if ({' || '.join(conditions)}) begin : g_memory{index}\n"
                f"    localparam logic [{size * len(lines) - 1}:0] WORDS_OF = {package}::{_constant(file)};\n"
                f"    initial for (int i = 0; i < {words}; i++) mem[i] = WORDS_OF[{size}*i+:{bits}];\n"
                "  end\n  "
            )
    return "".join(found)
