"""The types that a user gives to inputs which the model itself does not quantize.

A type becomes a part of the model, so that its reference, every engine and a build folder have it too: an integer type
is the annotation of the input, any other one a QONNX quantizer behind it. The model's metadata keeps the text of each
type. Sources of the fixed-point types: the AMD Vitis HLS user guide (UG1399), "Arbitrary Precision Fixed-Point Data
Types"; their names of rounding and overflow are those of ``ap_fixed``. Subnormal numbers count as 0: the quantizer
divides by the step in float32.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.datatype import DataType

from hw.host.errors import UsageError
from hw.host.operators import ROUNDING_MODES
from hw.lowering.domains import QONNX_DOMAIN
from hw.lowering.gate.limits import MAX_BITS, MAX_ZERO_POINT
from hw.lowering.gate.names import printable
from hw.lowering.gate.tensors import FLOATS, check_type, elem_type_of, type_name

InputTypes: TypeAlias = str | Sequence[str] | Mapping[str, str]
"""A type for the only input; or types by input, as ``name=type`` or in a mapping."""

EXAMPLE = "fixed<16,6>"
METADATA = "bitfabric.input_type."
"""The key of the model's metadata that holds the type of an input, before its name."""
MODES = {
    "AP_RND": ("FLOOR", 0.5),
    "AP_RND_CONV": ("ROUND", 0.0),
    "AP_RND_INF": ("HALF_UP", 0.0),
    "AP_RND_MIN_INF": ("CEIL", -0.5),
    "AP_RND_ZERO": ("HALF_DOWN", 0.0),
    "AP_TRN": ("FLOOR", 0.0),
    "AP_TRN_ZERO": ("DOWN", 0.0),
}
"""HLS's names of rounding -> QONNX's mode, and the part of a step that is added before it."""
OVERFLOWS = {"AP_SAT": False, "AP_SAT_SYM": True}
"""HLS's names of overflow -> whether the smallest code is left out."""
INTEGER = re.compile(r"(u?)int([1-9][0-9]?)")
FIXED = re.compile(r"(ap_)?(u?)fixed<(-?\d{1,3}),(-?\d{1,3})(?:,(\w+))?(?:,(\w+))?>")
KEYS = ("scale", "zero_point", "bits", "signed", "narrow", "rounding")


@dataclass(frozen=True)
class Quantizer:
    """The parameters of a quantizer at an input: QONNX's, and ``nudge``, a part of a step that is added before.

    An ``exact`` one computes in float64, in which the sums that decide about ties are exact for every float32.
    """

    scale: float
    bits: int
    signed: bool = True
    zero_point: float = 0.0
    narrow: bool = False
    rounding: str = "ROUND"
    nudge: float = 0.0
    exact: bool = False


def parsed(text: str) -> str | Quantizer:
    """The QONNX data type of integers, or the quantizer, that a user's ``text`` describes.

    - ``uint8``, ``int4``, ``bipolar``: the input takes these integers as they are;
    - ``fixed<W,I>``, ``ufixed<W,I>``: W bits, I of them before the point; rounds to nearest, ties to
      even, and saturates;
    - ``ap_fixed<W,I>``, ``ap_ufixed<W,I>``: as in HLS, truncates towards minus infinity; saturates;
    - both with HLS's rounding and overflow after that: ``ap_fixed<16,6,AP_RND,AP_SAT>``. AP_WRAP is refused;
    - ``scale=0.1,bits=8``, with ``zero_point=``, ``signed=``, ``narrow=``, ``rounding=`` as in QONNX's Quant.

    Raises UsageError for anything else.
    """
    plain = "".join(text.split())
    if plain.lower() == "bipolar":
        return "BIPOLAR"
    if integer := INTEGER.fullmatch(plain.lower()):
        unsigned, bits = bool(integer[1]), int(integer[2])
        if not (1 if unsigned else 2) <= bits <= MAX_BITS:
            raise _refused(text, f"streams have up to {MAX_BITS} bits, signed ones at least 2")
        return "BINARY" if bits == 1 else f"{'U' * unsigned}INT{bits}"
    if fixed := FIXED.fullmatch(plain):
        return _fixed(text, *fixed.groups())
    if "=" in plain:
        return _quantizer(text, plain)
    raise _refused(text, f"types are uint8, int4, bipolar, {EXAMPLE}, ap_fixed<16,6,AP_RND,AP_SAT>, scale=0.1,bits=8")


def _fixed(text: str, hls: str | None, unsigned: str, width: str, whole: str, *options: str | None) -> Quantizer:
    """A fixed-point type of ``width`` bits, ``whole`` of them before the point, with HLS's rounding and overflow."""
    rounding, overflow = options
    bits, signed = int(width), not unsigned
    if not (2 if signed else 1) <= bits <= MAX_BITS:
        raise _refused(text, f"streams have up to {MAX_BITS} bits, signed ones at least 2")
    if abs(int(whole)) > 64:
        raise _refused(text, f"its {whole} bits before the point are out of range")
    rounding = rounding or ("AP_TRN" if hls else "AP_RND_CONV")
    if rounding not in MODES:
        raise _refused(text, f"{rounding} is none of the roundings {', '.join(MODES)}")
    overflow = overflow or "AP_SAT"
    if overflow not in OVERFLOWS:
        raise _refused(text, f"{overflow} is not computed at an input; use AP_SAT, which keeps values within its range")
    mode, nudge = MODES[rounding]
    exact = bool(nudge) or mode.startswith("HALF")
    return Quantizer(2.0 ** (int(whole) - bits), bits, signed, 0.0, OVERFLOWS[overflow] and signed, mode, nudge, exact)


def _quantizer(text: str, plain: str) -> Quantizer:
    """The parameters of a Quant, as ``key=value`` with commas."""
    values: dict[str, str] = {}
    for part in plain.split(","):
        key, _, value = part.partition("=")
        if key not in KEYS or key in values or not value:
            raise _refused(text, f"it is given as {', '.join(f'{each}=' for each in KEYS)}, each at most once")
        values[key] = value
    if missing := [key for key in ("scale", "bits") if key not in values]:
        raise _refused(text, f"it lacks {missing[0]}=")
    mode = values.get("rounding", "ROUND").upper()
    if mode not in ROUNDING_MODES:
        raise _refused(text, f"QONNX has no rounding mode {printable(mode)}, only {', '.join(sorted(ROUNDING_MODES))}")
    try:
        scale, zero_point = float(np.float32(values["scale"])), float(values.get("zero_point", "0"))
        bits, signed, narrow = (
            int(values.get(key, default)) for key, default in (("bits", ""), ("signed", "1"), ("narrow", "0"))
        )
    except (ValueError, OverflowError):
        raise _refused(text, "a value is no number") from None
    if not (np.isfinite(scale) and scale > 0):
        raise _refused(text, "its scale is no positive number")
    if not 1 <= bits <= MAX_BITS or signed not in (0, 1) or narrow not in (0, 1):
        raise _refused(text, f"bits= is 1 to {MAX_BITS}, signed= and narrow= are 0 or 1")
    if zero_point != round(zero_point) or abs(zero_point) > MAX_ZERO_POINT:
        raise _refused(text, f"its zero point is no whole number of up to {MAX_ZERO_POINT:,}")
    return Quantizer(scale, bits, bool(signed), zero_point, bool(narrow), mode)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"--input-type {printable(text)}: {why}")


def described(text: str) -> str:
    """What an input of this type does with a value, for a reader."""
    kind = parsed(text)
    if isinstance(kind, str):
        return f"{kind} integers as they are"
    low, high = _range(kind)
    return f"quantized by the host to {kind.bits} bits, {low:g} to {high:g} in steps of {kind.scale:g}, saturating"


def sentences(types: Mapping[str, str]) -> list[str]:
    """What a user gave inputs their types to be, a sentence for each."""
    return [
        f"input {name}: {text}, as the user gave it, not the model: {described(text)}" for name, text in types.items()
    ]


def _range(kind: Quantizer) -> tuple[float, float]:
    """The smallest and the largest value of a quantizer."""
    low = -(1 << kind.bits - 1) + kind.narrow if kind.signed else 0
    high = (1 << kind.bits - 1) - 1 if kind.signed else (1 << kind.bits) - 1 - kind.narrow
    return (low - kind.zero_point) * kind.scale, (high - kind.zero_point) * kind.scale


# --- in a model ---


def input_types(model: onnx.ModelProto) -> dict[str, str]:
    """The types that were given to a model's inputs, by name."""
    given = {entry.key: entry.value for entry in model.metadata_props}
    return {key.removeprefix(METADATA): text for key, text in given.items() if key.startswith(METADATA)}


def with_input_types(model: onnx.ModelProto, types: InputTypes) -> onnx.ModelProto:
    """A copy of a model whose inputs have these types (see ``parsed``).

    Raises UsageError for a text that is no type, an input that there is not, and a type that the input cannot have.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    inputs = {value.name: value for value in typed.graph.input}
    constants = {each.name for each in typed.graph.initializer}
    read = {name for node in typed.graph.node for name in node.input}
    names = [name for name in inputs if name not in constants and name in read]
    known = input_types(model)
    for name, text in _by_input(types, names).items():
        if name in known and known[name] != text:
            raise UsageError(f"input {name} already has the type {known[name]}; start from the original file")
        if name not in known:
            _apply(typed, inputs[name], text)
            typed.metadata_props.add(key=METADATA + name, value=text)
    return typed


def _by_input(types: InputTypes, names: list[str]) -> dict[str, str]:
    """The types by input; ``names`` are the model's inputs."""
    if isinstance(types, Mapping):
        found = dict(types)
    else:
        found = {}
        for text in [types] if isinstance(types, str) else types:
            name, given, rest = text.partition("=")
            if not given or (name not in names and name in KEYS):
                if len(names) != 1:
                    raise UsageError(
                        f"the model has the inputs {', '.join(names)}; give each its type: --input-type "
                        f'"{next(iter(names), "NAME")}={printable(text)}"'
                    )
                name, rest = names[0], text
            if name in found:
                raise UsageError(f"input {printable(name)} is given two types; give it one")
            found[name] = rest
    if unknown := [name for name in found if name not in names]:
        raise UsageError(f"--input-type: there is no input {printable(unknown[0])}, only {', '.join(names)}")
    return found


def _apply(model: onnx.ModelProto, value: onnx.ValueInfoProto, text: str) -> None:
    """Give one input its type."""
    kind, elem_type = parsed(text), elem_type_of(value)
    check_type(elem_type, f"input {value.name}")
    if isinstance(kind, str):
        if elem_type not in FLOATS:
            limits = np.iinfo(helper.tensor_dtype_to_np_dtype(elem_type))
            if DataType[kind].min() < limits.min or DataType[kind].max() > limits.max:
                raise UsageError(f"input {value.name} is {type_name(elem_type)}, which does not hold {kind}")
        _annotate(model.graph, value.name, kind)
    elif elem_type not in FLOATS:
        raise UsageError(
            f"input {value.name} is {type_name(elem_type)}: it holds integers; give it an integer type, or none"
        )
    else:
        _insert(model, value.name, kind)


def _annotate(graph: onnx.GraphProto, name: str, dtype: str) -> None:
    """Annotate a tensor with integers' type, instead of its annotation."""
    kept = [each for each in graph.quantization_annotation if each.tensor_name != name]
    del graph.quantization_annotation[:]
    graph.quantization_annotation.extend(kept)
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=dtype)
    graph.quantization_annotation.append(onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry]))


def _insert(model: onnx.ModelProto, name: str, kind: Quantizer) -> None:
    """Insert a quantizer between an input and all its readers."""
    graph = model.graph
    taken = {each for node in graph.node for each in (node.name, *node.input, *node.output)} | {
        value.name for value in (*graph.input, *graph.output, *graph.initializer)
    }
    prefix = f"{name}_typed"
    while prefix in taken:
        prefix += "_"

    def constant(what: str, number: float, dtype: type = np.float32) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(number, dtype), f"{prefix}_{what}"))
        return f"{prefix}_{what}"

    source, nodes = name, []
    if kind.exact:
        cast, moved = f"{prefix}_double", f"{prefix}_moved"
        nodes.append(helper.make_node("Cast", [source], [cast], name=cast, to=TensorProto.DOUBLE))
        source = cast
        if kind.nudge:
            half = constant("half", kind.nudge * kind.scale, np.float64)
            nodes.append(helper.make_node("Add", [cast, half], [moved], name=moved))
            source = moved
    operands = [constant("scale", kind.scale), constant("zero_point", kind.zero_point), constant("bits", kind.bits)]
    nodes.append(
        helper.make_node(
            "Quant",
            [source, *operands],
            [prefix],
            name=prefix,
            domain=QONNX_DOMAIN,
            signed=int(kind.signed),
            narrow=int(kind.narrow),
            rounding_mode=kind.rounding,
        )
    )
    for node in graph.node:
        for index, each in enumerate(node.input):
            if each == name:
                node.input[index] = prefix
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    if not any(opset.domain == QONNX_DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(QONNX_DOMAIN, 1))
