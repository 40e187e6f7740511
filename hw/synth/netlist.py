"""Simulation below RTL: a Yosys or nextpnr netlist as a design that ``hw.simulate`` can build.

A netlist in Yosys JSON, after synthesis or after place and route, is written as Verilog: one instance per cell, of
our own models of the family's cells (``models/<family>``). What an open pin and a pin's multiplexer mean is resolved
here, as nextpnr writes them into the bitstream:

- a parameter ``<pin>MUX`` of ``INV`` inverts the pin, ``0`` or ``1`` replaces it, the pin's own name passes it;
- an open input is 0, but 1 for the inputs of a lookup table in carry mode, for clock enables, and for the clock,
  write, reset and select pins of a block RAM, which are inverted unless their multiplexer says otherwise.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import count
from pathlib import Path

from hw.errors import BitfabricError
from hw.rtl import Design
from hw.stream import Stream
from hw.synth.family import ECP5, Family

_IGNORED = re.compile(
    r"GSR|WID|DIR|INIT_DATA|CLK\d_DIV|HIGHSPEED_CLK|CAS_MATCH_REG|SOURCEB_MODE|MULT_BYPASS|REG_\w+_(CE|RST)|"
    r"CLKOP_TRIM_\w+|CLKOS\d?_(TRIM_\w+|DIV|[CF]PHASE)|PLL_LOCK_\w+|REFIN_RESET|SYNC_ENABLE|INT_LOCK_STICKY"
)
"""Parameters without a meaning in a simulation of cycles."""
_RAM_CONTROL = re.compile(r"(CLK|WE|RST|CS)[AB]\d?")
_ENABLE = re.compile(r"(OCE|CE)[AB]?")
_VECTOR = re.compile(r"([A-Z]+)(\d+)")
_VECTORED = {"DP16KD", "MULT18X18D", "CCU2C", "TRELLIS_COMB", "TRELLIS_RAMW"}
"""Cells whose models have pins ``X0, X1, ...`` as one vector ``X``."""
_CONTENTS = {"LUT4": ("INIT",), "CCU2C": ("INIT0", "INIT1"), "TRELLIS_COMB": ("INITVAL",)}
"""Parameters that are inputs of the models."""


def models(family: Family) -> dict[str, str]:
    """The models of a family's cells, by file name. Raises BitfabricError where there are none."""
    folder = files("hw.synth").joinpath("models", family.name)
    if not folder.is_dir():
        raise BitfabricError(f"no cell models for {family.name}: its netlists cannot be simulated", 2)
    sources = sorted((p for p in folder.iterdir() if p.name.endswith(".sv")), key=lambda p: p.name)
    return {f"{family.name}_{p.name}": p.read_text() for p in sources}


def load(netlist: Path) -> tuple[str, dict]:
    """Name and contents of the top module of a Yosys JSON file. Raises BitfabricError where there is none."""
    try:
        modules = json.loads(netlist.read_text())["modules"]
        tops = [name for name, module in modules.items() if int(str(module["attributes"].get("top", "0")), 2)]
    except (OSError, ValueError, KeyError) as error:
        raise BitfabricError(f"cannot read the netlist {netlist} ({error}); build again") from None
    if len(tops) != 1:
        raise BitfabricError(f"netlist {netlist} has {len(tops)} top modules, not one; build again")
    return tops[0], modules[tops[0]]


def design(
    netlist: Path,
    inputs: Mapping[str, Stream] | None = None,
    outputs: Mapping[str, Stream] | None = None,
    family: Family = ECP5,
) -> Design:
    """The design of a netlist file: of an accelerator with the streams ``inputs`` and ``outputs``, or of an image."""
    top, module = load(netlist)
    text = {f"{top}_netlist.sv": verilog(top, module)} | models(family)
    return Design(top, dict(inputs or {}), dict(outputs or {}), text)


def verilog(top: str, module: dict) -> str:
    """A module of a Yosys JSON file as Verilog: instances of cells between nets ``n<number>``."""
    # nextpnr gives an arbitrary number to a port's bit that goes nowhere; every real net has a name.
    known = {bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)}
    fresh = count(max(known, default=0) + 1)
    cells = [cell for cell in module["cells"].values() if cell["type"] != "$scopeinfo"]
    body = [_instance(f"c{i}", cell, fresh) for i, cell in enumerate(cells)]
    ports, connect = [], []
    for name, port in module["ports"].items():
        ports.append(f"    {port['direction']} wire logic [{len(port['bits']) - 1}:0] {name}")
        for i, bit in enumerate(port["bits"]):
            if port["direction"] == "output":
                connect.append(f"  assign {name}[{i}] = {_net(bit if bit in known else str(bit))};\n")
            elif bit in known:
                connect.append(f"  assign {_net(bit)} = {name}[{i}];\n")
    used = sorted({int(net) for text in (*connect, *body) for net in re.findall(r"\bn(\d+)\b", text)})
    wires = "".join(f"  wire n{net};\n" for net in used)
    head = f"// A netlist of placed or mapped cells.\nmodule {top} (\n" + ",\n".join(ports) + "\n);\n"
    return head + wires + "".join(connect) + "".join(body) + "endmodule\n"


def _net(bit: int | str) -> str:
    if isinstance(bit, int):
        return f"n{bit}"
    return "1'b1" if bit == "1" else "1'b0"


def _text(value: str) -> str | None:
    """A parameter that is a string (Yosys adds a space to those that look like bits), or None for bits."""
    if re.fullmatch(r"[01xz]+", value):
        return None
    return value[:-1] if re.fullmatch(r"[01xz]+ +", value) else value


def _instance(name: str, cell: dict, fresh: Iterator[int]) -> str:
    """One cell as an instance of its model."""
    kind, parameters = cell["type"], dict(cell["parameters"])
    directions = cell["port_directions"]
    pins: dict[str, list[int | str]] = dict(cell["connections"])
    for key in parameters:
        if key.endswith("MUX"):
            pins.setdefault(key[:-3], [])
    if kind == "TRELLIS_FF":
        pins.setdefault("CE", [])
    if kind == "TRELLIS_IO":
        kind = _pad(parameters, pins)
    values = {pin: f"n{next(fresh)}" if directions.get(pin) == "output" and not bits
              else _value(kind, pin, bits, parameters) for pin, bits in pins.items()}  # fmt: skip

    settings = {}
    for key, value in parameters.items():
        if not _IGNORED.fullmatch(key) and not key.endswith("MUX"):
            text = _text(value)
            settings[key] = f"{len(value)}'b{re.sub('[xz]', '0', value)}" if text is None else f'"{text}"'
    if kind == "TRELLIS_COMB" and (pins.get("FXA") or pins.get("FXB")):
        settings["WIDE"] = "1'b1"
    if kind == "TRELLIS_COMB" and settings.get("MODE") == '"DPRAM"':
        settings["RAM"] = settings["INITVAL"]
    if kind == "DP16KD":
        rows = [settings.pop(f"INITVAL_{row:02X}", "320'b0") for row in range(64)]
        settings["INITVAL"] = "{" + ", ".join(reversed(rows)) + "}"

    contents = {key: settings.pop(key) for key in _CONTENTS.get(kind, ()) if key in settings}
    given = f" #({', '.join(f'.{key}({value})' for key, value in settings.items())})" if settings else ""
    connected = contents | _vectors(kind, values, directions, fresh)
    wired = ", ".join(f".{pin}({value})" for pin, value in connected.items())
    return f"  {kind}{given} {name} ({wired});\n"


def _pad(parameters: dict[str, str], pins: dict[str, list[int | str]]) -> str:
    """The model of a pad: with a direction in place of ``inout``, and without the registers beside it."""
    direction = parameters.get("DIR")
    registers = pins.pop("IOLTO", []) + pins.pop("IOLDO", [])
    if direction not in ("INPUT", "OUTPUT") or registers:
        raise BitfabricError(f"no model of a pad with registers or with direction {direction}")
    for key in [key for key, value in parameters.items() if value == "PADDO"]:
        del parameters[key]
    return f"TRELLIS_IO_{direction}"


def _value(kind: str, pin: str, bits: list[int | str], parameters: dict[str, str]) -> str:
    """What is on a connected or open pin, after its multiplexer."""
    mux = _text(parameters.get(f"{pin}MUX", pin)) or parameters[f"{pin}MUX"]
    if mux in ("0", "1"):
        return f"1'b{mux}"
    if len(bits) > 1:
        return "{" + ", ".join(_net(bit) for bit in reversed(bits)) + "}"
    if bits:
        value = _net(bits[0])
    elif kind == "DP16KD" and _RAM_CONTROL.fullmatch(pin):
        value, mux = "1'b1", parameters.get(f"{pin}MUX", "INV")
    elif _ENABLE.fullmatch(pin) or (kind == "TRELLIS_COMB" and parameters.get("MODE") == "CCU2" and pin in "ABCD"):
        value = "1'b1"
    else:
        value = "1'b0"
    if mux not in (pin, "INV"):
        raise BitfabricError(f"no model of {kind} with {pin}MUX {mux}")
    return f"~{value}" if mux == "INV" else value


def _vectors(kind: str, values: dict[str, str], directions: dict[str, str], fresh: Iterator[int]) -> dict[str, str]:
    """The pins as the models have them."""
    result: dict[str, str] = {}
    groups: dict[str, dict[int, str]] = {}
    for pin, value in values.items():
        match = _VECTOR.fullmatch(pin)
        if match is None or match[1] in values or kind not in _VECTORED:
            result[pin] = value
        else:
            groups.setdefault(match[1], {})[int(match[2])] = value
    for name, members in groups.items():
        output = any(directions.get(f"{name}{i}") == "output" for i in members)
        missing = (lambda: f"n{next(fresh)}") if output else (lambda: "1'b0")
        result[name] = "{" + ", ".join(members.get(i) or missing() for i in range(max(members), -1, -1)) + "}"
    return result
