"""Computes an exported network in NumPy: the integers of ``NAME.json`` and ``NAME.npz``, which lie beside this file.

    from run_network import Network
    outputs = Network("NAME.json").run({"x": frames})     # integers (N, elements) by name

The host's steps before and after the integers are in ``NAME.json`` (``tensors``).
"""

import json
from pathlib import Path

import numpy as np


class Network:
    """An exported network. Frames are flat: the elements in the order of the stream."""

    def __init__(self, path):
        path = Path(path)
        self.content = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name].astype(np.int64) for name in arrays.files}

    def run(self, frames):
        """Integers ``(N, elements)`` of every output, by edge, from those of every input."""
        values = {name: np.asarray(x, np.int64).reshape(len(x), -1) for name, x in frames.items()}
        for op in self.content["operations"]:
            constants = {name: self.arrays[f"{op['name']}.{name}"] for name in op["arrays"]}
            results = OPERATIONS[op["op"]](op, constants, *(values[edge] for edge in op["inputs"]))
            for edge, result in zip(op["outputs"], results, strict=True):
                values[edge] = result.reshape(len(result), -1)
        return {output["edge"]: values[output["edge"]] for output in self.content["outputs"]}


def matrix_vector(op, c, x):
    return ((x.reshape(len(x), op["rows"], -1) @ c["weights"].T),)


def expert_matrix_vector(op, c, choice, x):
    experts, outputs, inputs = c["weights"].shape
    every = (x @ c["weights"].reshape(-1, inputs).T).reshape(len(x), experts, outputs)
    return (every[np.arange(len(x)), np.minimum(choice[:, 0], experts - 1)],)


def depthwise(op, c, x):
    channels, positions = c["weights"].shape
    windows = x.reshape(len(x), op["rows"], positions, channels)
    return ((windows * c["weights"].T).sum(axis=2),)


def sliding_window(op, c, x):
    (height, width), (kh, kw), channels = op["image"], op["kernel"], op["channels"]
    (sy, sx), (dy, dx), (py, px), (oh, ow) = op["stride"], op["dilation"], op["before"], op["windows"]
    x = x.reshape(-1, height, width, channels)
    y = np.empty((len(x), oh, ow, kh, kw, channels), np.int64)
    y[:] = c["padding"]
    for i in range(oh):
        for j in range(ow):
            for a in range(kh):
                for b in range(kw):
                    row, column = i * sy + a * dy - py, j * sx + b * dx - px
                    if 0 <= row < height and 0 <= column < width:
                        y[:, i, j, a, b] = x[:, row, column]
    return (y,)


def threshold(op, c, x):
    thresholds, steps = c["thresholds"], c["thresholds"].shape[1]
    x = x.reshape(len(x), op["rows"], -1)
    count = sum((x >= thresholds[:, i]).astype(np.int64) for i in range(steps))
    return (op["least"] + op["unit"] * np.where(c["decreasing"] != 0, steps - count, count),)


def requant(op, c, x):
    x, shift, bits, times = x.reshape(len(x), op["rows"], -1), op["shift"], op["part_bits"], op["parts"]
    x = (x + 1) >> 1 if op["bipolar"] else x
    mask, carry, left = (1 << bits) - 1, 0, 0
    for i in range(times):
        part = (x >> i * bits & mask) * c["multipliers"] + c["addends"][i] + carry
        carry, left = part >> bits, left | (part & mask)
    total = (x >> times * bits) * c["multipliers"] + c["addends"][times] + carry
    if times:
        total, shift = 2 * total + (left != 0), shift - times * bits + 1
    return (np.clip(_divided(total, shift, op["rounding"]), op["low"], op["high"]),)


def _divided(values, shift, rounding):
    """``values / 2**shift``, rounded."""
    whole, rest, half = values >> shift, values & ((1 << shift) - 1), (1 << shift) >> 1
    if shift == 0 or rounding == "FLOOR":
        return whole
    up = {
        "ROUND": rest + (whole & 1) > half,
        "HALF_UP": np.where(values >= 0, rest >= half, rest > half),
        "HALF_DOWN": np.where(values >= 0, rest > half, rest >= half),
        "CEIL": rest > 0,
        "UP": (rest > 0) & (values >= 0),
        "DOWN": (rest > 0) & (values < 0),
    }[rounding]
    return whole + up


def table(op, c, x):
    values = c["values"]
    x = x.reshape(len(x), op["rows"], -1)
    return (values[np.arange(len(values)), (x - op["first"]) // op["step"]],)


def pool(op, c, x):
    (height, width), (kh, kw), (oh, ow), channels = op["image"], op["kernel"], op["windows"], op["channels"]
    x = x.reshape(len(x), height, width, channels)[:, : oh * kh, : ow * kw]
    x = x.reshape(len(x), oh, kh, ow, kw, channels)
    return (x.max(axis=(2, 4)) if op["maximum"] else x.sum(axis=(2, 4)),)


def add(op, c, a, b):
    return (op["coefficients"][0] * a + op["coefficients"][1] * b,)


def concat(op, c, *inputs):
    return (np.concatenate([x.reshape(len(x), op["rows"], -1) for x in inputs], axis=2),)


def same(op, c, x):
    return [x for _ in op["outputs"]]


def gather(op, c, x):
    return (x[:, c["positions"]],)


def arg_max(op, c, x):
    return (x.reshape(len(x), op["rows"], -1).argmax(axis=2),)


def margin(op, c, x):
    ordered = np.sort(x, axis=1)
    return ((ordered[:, -1:] - ordered[:, -2:-1] >= op["threshold"]).astype(np.int64),)


def exit(op, c, verdict, x):
    return (x,)


def merge(op, c, verdict, early, late):
    return (np.where(verdict == 1, early, late),)


def thermometer(op, c, x):
    return ((x.reshape(len(x), op["rows"], -1)[..., c["features"]] >= c["levels"]).astype(np.int64),)


def lookup_layer(op, c, x):
    wires = c["wires"]
    bits = x.reshape(len(x), op["rows"], -1)[..., wires]
    address = (bits << np.arange(wires.shape[1])).sum(axis=-1)
    return (c["tables"][np.arange(len(wires)), address],)


def popcount_class(op, c, x):
    x = x.reshape(len(x), op["rows"], -1)
    sums = np.zeros((*x.shape[:2], len(c["offsets"])), np.int64) + c["offsets"]
    for wire, group in zip(c["wires"], c["groups"], strict=True):
        sums[..., group] += x[..., wire]
    return (sums,)


OPERATIONS = {
    each.__name__: each
    for each in (
        matrix_vector, expert_matrix_vector, depthwise, sliding_window, threshold, requant, table, pool, add, concat,
        same, gather, arg_max, thermometer, lookup_layer, popcount_class, margin, exit, merge,
    )
}  # fmt: skip
