"""Arguments and options that several commands share, and the output of results as JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL.onnx", help="a QONNX or QDQ file, or FINN's dataflow graph"),
]


def target_names(begun: str) -> list[str]:
    """The names of targets that start with ``begun``, for shell completion."""
    from hw.boards.targets import targets

    return [target.name for target in targets() if target.name.startswith(begun)]


Target = Annotated[
    str,
    typer.Option(
        "--target", "-t", help="a board or a device; `bitfabric targets` lists them", autocompletion=target_names
    ),
]
Fps = Annotated[float | None, typer.Option(help="frames per second to reach, with the cheapest folding that does")]
Clock = Annotated[float | None, typer.Option("--clock", metavar="MHZ", help="clock of the accelerator")]
ForceClock = Annotated[
    bool,
    typer.Option("--force-clock", help="go on with a clock of more than 1.3 times the estimated Fmax"),
]
FoldingFile = Annotated[Path | None, typer.Option("--folding", metavar="F.json", help="a folding in FINN's JSON form")]
Fill = Annotated[
    bool,
    typer.Option(
        "--fill",
        help="as fast as the device allows: the fastest folding that is estimated to take at most 80 % of its LUT and "
        "FF and 90 % of its BRAM and DSP; the rest is for routing, the board's shell and errors of the estimate",
    ),
]
Parity = Annotated[
    bool,
    typer.Option("--parity", help="a parity bit for every constant in block RAM, and a counter of wrong ones"),
]
BenchmarkFrames = Annotated[
    int,
    typer.Option(
        "--benchmark-frames",
        metavar="N",
        help="block RAM in the image of a board for N frames, which `bitfabric run --benchmark` replays at full rate, "
        "with a checksum of all outputs and a counter of cycles; 0: none",
    ),
]
ExitShare = Annotated[
    float,
    typer.Option(
        "--exit-share",
        metavar="S",
        help="of a network with early exits: the share of frames that go on (0 to 1), for which the layers behind are "
        "folded; --fps is then a mean rate. 1: the rate is kept whatever leaves",
    ),
]
MaxLut = Annotated[
    int | None, typer.Option(min=0, help="most lookup tables of the accelerator, as estimated (default: the device's)")
]
MaxFf = Annotated[int | None, typer.Option(min=0, help="most flip-flops, likewise")]
MaxBram = Annotated[int | None, typer.Option(min=0, help="most block RAMs, likewise")]
MaxDsp = Annotated[int | None, typer.Option(min=0, help="most DSP blocks, likewise")]
InputType = Annotated[
    list[str] | None,
    typer.Option(
        "--input-type",
        metavar="[NAME=]TYPE",
        help="what an input takes that the model does not quantize: uint8, int4, bipolar (integers as they are); "
        "fixed<16,6> (16 bits, 6 before the point; rounds to nearest, saturates); ap_fixed<16,6> (truncates as in HLS, "
        "but saturates), with other roundings: ap_fixed<8,3,AP_RND>; scale=0.1,bits=8 (zero_point=, signed=, narrow=); "
        "once for each input",
    ),
]
Clip = Annotated[
    bool,
    typer.Option("--clip", help="round and clip frames to the input's integer type, whatever their number"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print results as JSON, nothing else")]


def limits(lut: int | None, ff: int | None, bram: int | None, dsp: int | None) -> dict[str, int]:
    """The limits that were given, by resource."""
    given = {"lut": lut, "ff": ff, "bram": bram, "dsp": dsp}
    return {name: most for name, most in given.items() if most is not None}


def pairs(option: str, values: list[str]) -> dict[str, Any]:
    """Parse options ``NAME=VALUE``. A value that is not JSON is a string, or a list ``[random,tree]`` of such values.

    Raises typer.BadParameter for other forms, and for a name that is given twice.
    """
    found: dict[str, Any] = {}
    for pair in values:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {pair!r} is no NAME=VALUE, as in {option} act_bits=2")
        if name in found:
            raise typer.BadParameter(f"{option} {name} is given twice, as {name}={found[name]} and as {pair}: give one")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """JSON, a list of words, or a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        words = text.strip()
        if words[:1] + words[-1:] == "[]":
            return [_value(word.strip()) for word in words[1:-1].split(",")]
        return text


def rates(text: str) -> float | tuple[float, float]:
    """The value of ``--learning-rate``, ``A`` or ``A:B``. Raises typer.BadParameter for another form."""
    try:
        found = [float(part) for part in text.split(":")]
    except ValueError:
        raise typer.BadParameter(f"--learning-rate {text!r} is no number, or two as in 1e-2:1e-4") from None
    if len(found) > 2:
        raise typer.BadParameter(f"--learning-rate {text!r} has more than a first and a last rate, as in 1e-2:1e-4")
    return found[0] if len(found) == 1 else (found[0], found[1])


def emit(content: dict[str, Any]) -> None:
    """Print a result as JSON."""
    typer.echo(json.dumps(content, indent=2))


def widths(option: str, text: str, *, ternary: bool) -> tuple[Any, ...]:
    """The widths of an option, as ``1,2,4``. Raises typer.BadParameter for another form."""
    found: list[Any] = []
    for part in (part.strip() for part in text.split(",")):
        if ternary and part == "ternary":
            found.append(part)
        elif part.isdecimal() and 1 <= int(part) <= 16:
            found.append(int(part))
        else:
            raise typer.BadParameter(f"{option} {text!r} is no list of widths of 1 to 16 bits, as {option} 2,4,8")
    return tuple(dict.fromkeys(found))
