"""The C code of each operation: the body of a function of inputs (``x``, or ``a0``, ``a1``, ...) and output ``y``.

Bounds of loops are constants. A sum is computed in 32 bits where it fits there, otherwise in 64.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from hw.ir.stream import Stream
from hw.portable.description import Operation, element

_ROUNDINGS: Mapping[str, str] = MappingProxyType({
    "FLOOR": "0",
    "ROUND": "rest + (whole & 1) > half",
    "HALF_UP": "v >= 0 ? rest >= half : rest > half",
    "HALF_DOWN": "v >= 0 ? rest > half : rest >= half",
    "CEIL": "rest > 0",
    "UP": "rest > 0 && v >= 0",
    "DOWN": "rest > 0 && v < 0",
})  # fmt: skip
"""Mode -> whether the quotient is one more than rounded down."""


Lines = Iterable[str]


def c_type(stream: Stream) -> str:
    """The C type of a stream's elements."""
    return f"{element(stream)}_t"


def _largest(stream: Stream) -> int:
    return max(abs(int(stream.dtype.min())), abs(int(stream.dtype.max())))


def _sum_type(terms: int) -> str:
    """The type of a sum whose terms' sizes add up to ``terms``."""
    return "int32_t" if terms < 1 << 31 else "int64_t"


def _sums(op: Operation, f: str, streams: Sequence[Stream], out: Stream, output: str, element_at: str) -> Lines:
    """A sum of products for each row of the weights. ``output`` names its counter; ``element_at`` is the place in x of
    its k-th element at pixel r."""
    weights = op.arrays["weights"]
    outputs, terms = weights.shape
    kind = _sum_type(int(np.abs(weights).sum(axis=1).max()) * _largest(streams[0]))
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++)"
    yield f"    for (int {output} = 0; {output} < {outputs}; {output}++) {{"
    yield f"        {kind} sum = 0;"
    yield f"        for (int k = 0; k < {terms}; k++)"
    yield f"            sum += ({kind}){f}_weights[{output}][k] * x[{element_at}];"
    yield f"        y[r * {outputs} + {output}] = ({c_type(out)})sum;"
    yield "    }"


def _matrix_vector(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    _, inputs = op.arrays["weights"].shape
    return _sums(op, f, streams, out, "m", f"r * {inputs} + k")


def _expert_matrix_vector(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    experts, outputs, terms = op.arrays["weights"].shape
    kind = _sum_type(int(np.abs(op.arrays["weights"]).sum(axis=2).max()) * _largest(streams[1]))
    yield f"const int expert = a0[0] < {experts} ? (int)a0[0] : {experts - 1};"
    yield f"for (int m = 0; m < {outputs}; m++) {{"
    yield f"    {kind} sum = 0;"
    yield f"    for (int k = 0; k < {terms}; k++)"
    yield f"        sum += ({kind}){f}_weights[expert][m][k] * a1[k];"
    yield f"    y[m] = ({c_type(out)})sum;"
    yield "}"


def _depthwise(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    channels, positions = op.arrays["weights"].shape
    return _sums(op, f, streams, out, "c", f"(r * {positions} + k) * {channels} + c")


def _sliding_window(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    n = op.numbers
    (height, width), (kh, kw), (oh, ow) = n["image"], n["kernel"], n["windows"]
    (sy, sx), (dy, dx), (py, px) = n["stride"], n["dilation"], n["before"]
    yield "int at = 0;"
    yield f"for (int i = 0; i < {oh}; i++)"
    yield f"    for (int j = 0; j < {ow}; j++)"
    yield f"        for (int a = 0; a < {kh}; a++)"
    yield f"            for (int b = 0; b < {kw}; b++) {{"
    yield f"                const int row = i * {sy} + a * {dy} - {py}, column = j * {sx} + b * {dx} - {px};"
    yield f"                const int inside = row >= 0 && row < {height} && column >= 0 && column < {width};"
    yield f"                for (int c = 0; c < {n['channels']}; c++)"
    place = f"(row * {width} + column) * {n['channels']} + c"
    yield f"                    y[at++] = ({c_type(out)})(inside ? x[{place}] : {f}_padding[c]);"
    yield "            }"


def _threshold(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    channels, steps = op.arrays["thresholds"].shape
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++)"
    yield f"    for (int c = 0; c < {channels}; c++) {{"
    yield f"        const int64_t v = x[r * {channels} + c];"
    yield f"        int low = 0, high = {steps}; /* the thresholds are sorted */"
    yield "        while (low < high) {"
    yield "            const int middle = (low + high) / 2;"
    yield f"            if (v >= {f}_thresholds[c][middle])"
    yield "                low = middle + 1;"
    yield "            else"
    yield "                high = middle;"
    yield "        }"
    count = f"({f}_decreasing[c] ? {steps} - low : low)"
    yield f"        y[r * {channels} + c] = ({c_type(out)})({op.numbers['least']} + {op.numbers['unit']} * {count});"
    yield "    }"


def _requant(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    n, channels = op.numbers, op.arrays["multipliers"].size
    bits, times, shift = n["part_bits"], n["parts"], n["shift"]
    yield f"for (int r = 0; r < {n['rows']}; r++)"
    yield f"    for (int c = 0; c < {channels}; c++) {{"
    value = f"x[r * {channels} + c]"
    yield f"        const int64_t input = {f'({value} + 1) / 2' if n['bipolar'] else value};"
    yield f"        const int64_t by = {f}_multipliers[c];"
    if times:
        yield "        int64_t carry = 0, left = 0;"
        for i in range(times):
            yield f"        {{ /* bits {i * bits} to {(i + 1) * bits - 1} of the input */"
            yield f"            const int64_t mask = ((int64_t)1 << {bits}) - 1;"
            low = f"(shifted(input, {i * bits}) & mask)"
            yield f"            const int64_t part = {low} * by + {f}_addends[{i}][c] + carry;"
            yield f"            carry = shifted(part, {bits});"
            yield "            left |= part & mask;"
            yield "        }"
        yield f"        const int64_t high = shifted(input, {times * bits}) * by + {f}_addends[{times}][c] + carry;"
        yield "        const int64_t v = 2 * high + (left != 0);"
        shift = shift - times * bits + 1
    else:
        yield f"        const int64_t v = input * by + {f}_addends[0][c];"
    if shift:
        yield f"        int64_t whole = shifted(v, {shift});"
        if n["rounding"] != "FLOOR":
            yield f"        const int64_t rest = v & (((int64_t)1 << {shift}) - 1);"
            condition = _ROUNDINGS[n["rounding"]]
            if "half" in condition:
                yield f"        const int64_t half = (int64_t)1 << {shift - 1};"
            yield f"        whole += {condition};" if "?" not in condition else f"        whole += ({condition});"
    else:
        yield "        int64_t whole = v;"
    yield f"        if (whole < {n['low']})"
    yield f"            whole = {n['low']};"
    yield f"        if (whole > {n['high']})"
    yield f"            whole = {n['high']};"
    yield f"        y[r * {channels} + c] = ({c_type(out)})whole;"
    yield "    }"


def _table(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    n, channels = op.numbers, len(op.arrays["values"])
    yield f"for (int r = 0; r < {n['rows']}; r++)"
    yield f"    for (int c = 0; c < {channels}; c++)"
    place = f"(x[r * {channels} + c] - ({n['first']})) / {n['step']}"
    yield f"        y[r * {channels} + c] = ({c_type(out)}){f}_values[c][{place}];"


def _pool(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    n = op.numbers
    (_, width), (kh, kw), (oh, ow), channels = n["image"], n["kernel"], n["windows"], n["channels"]
    kind = c_type(out)
    yield f"for (int i = 0; i < {oh}; i++)"
    yield f"    for (int j = 0; j < {ow}; j++)"
    yield f"        for (int c = 0; c < {channels}; c++) {{"
    first = f"x[(i * {kh} * {width} + j * {kw}) * {channels} + c]"
    yield f"            {kind} found = {first if n['maximum'] else '0'};"
    yield f"            for (int a = 0; a < {kh}; a++)"
    yield f"                for (int b = 0; b < {kw}; b++) {{"
    yield f"                    const {kind} v = x[((i * {kh} + a) * {width} + j * {kw} + b) * {channels} + c];"
    yield "                    " + ("if (v > found) found = v;" if n["maximum"] else f"found = ({kind})(found + v);")
    yield "                }"
    yield f"            y[(i * {ow} + j) * {channels} + c] = found;"
    yield "        }"


def _add(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    a, b = op.numbers["coefficients"]
    yield f"for (int i = 0; i < {op.numbers['size']}; i++)"
    yield f"    y[i] = ({c_type(out)})((int64_t){a} * a0[i] + (int64_t){b} * a1[i]);"


def _concat(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++) {{"
    for i, channels in enumerate(op.numbers["channels"]):
        yield f"    for (int c = 0; c < {channels}; c++)"
        yield f"        *y++ = ({c_type(out)})a{i}[r * {channels} + c];"
    yield "}"


def _gather(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    yield f"for (int i = 0; i < {op.arrays['positions'].size}; i++)"
    yield f"    y[i] = x[{f}_positions[i]];"


def _arg_max(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    classes = op.numbers["classes"]
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++) {{"
    yield "    int best = 0;"
    yield f"    for (int c = 1; c < {classes}; c++)"
    yield f"        if (x[r * {classes} + c] > x[r * {classes} + best])"
    yield "            best = c;"
    yield f"    y[r] = ({c_type(out)})best;"
    yield "}"


def _margin(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    yield "int64_t first = x[0], second = INT64_MIN;"
    yield f"for (int c = 1; c < {op.numbers['classes']}; c++) {{"
    yield "    if (x[c] > first) {"
    yield "        second = first;"
    yield "        first = x[c];"
    yield "    } else if (x[c] > second)"
    yield "        second = x[c];"
    yield "}"
    yield f"y[0] = first - second >= {op.numbers['threshold']};"


def _exit(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    yield "(void)a0; /* every layer is computed for every frame; `merge` chooses */"
    yield f"for (int i = 0; i < {op.numbers['size']}; i++)"
    yield "    y[i] = a1[i];"


def _merge(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    yield f"for (int i = 0; i < {op.numbers['size']}; i++)"
    yield f"    y[i] = ({c_type(out)})(a0[0] == 1 ? a1[i] : a2[i]);"


def _thermometer(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    bits = op.arrays["features"].size
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++)"
    yield f"    for (int b = 0; b < {bits}; b++)"
    yield f"        y[r * {bits} + b] = x[r * {op.numbers['channels']} + {f}_features[b]] >= {f}_levels[b];"


def _lookup_layer(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    outputs, inputs = op.arrays["wires"].shape
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++)"
    yield f"    for (int o = 0; o < {outputs}; o++) {{"
    yield "        unsigned address = 0;"
    yield f"        for (int j = 0; j < {inputs}; j++)"
    yield f"            address |= (unsigned)x[r * {op.numbers['channels']} + {f}_wires[o][j]] << j;"
    yield f"        y[r * {outputs} + o] = {f}_tables[o][address];"
    yield "    }"


def _popcount_class(op: Operation, f: str, streams: Sequence[Stream], out: Stream) -> Lines:
    classes, count = op.arrays["offsets"].size, op.arrays["wires"].size
    yield f"for (int r = 0; r < {op.numbers['rows']}; r++) {{"
    yield f"    int32_t sums[{classes}];"
    yield f"    for (int c = 0; c < {classes}; c++)"
    yield f"        sums[c] = {f}_offsets[c];"
    yield f"    for (int i = 0; i < {count}; i++)"
    yield f"        sums[{f}_groups[i]] += x[r * {op.numbers['channels']} + {f}_wires[i]];"
    yield f"    for (int c = 0; c < {classes}; c++)"
    yield f"        y[r * {classes} + c] = ({c_type(out)})sums[c];"
    yield "}"


WRITERS: Mapping[str, Callable[[Operation, str, Sequence[Stream], Stream], Lines]] = MappingProxyType({
    "matrix_vector": _matrix_vector, "expert_matrix_vector": _expert_matrix_vector, "depthwise": _depthwise,
    "sliding_window": _sliding_window,
    "threshold": _threshold, "requant": _requant, "table": _table, "pool": _pool, "add": _add, "concat": _concat,
    "gather": _gather, "arg_max": _arg_max, "thermometer": _thermometer, "lookup_layer": _lookup_layer,
    "popcount_class": _popcount_class, "margin": _margin, "exit": _exit, "merge": _merge,
})  # fmt: skip
"""Operation -> the lines of its body, from: the operation, the prefix of its constants, its inputs, its output."""
