"""Compares every decision point of our lowering with FINN's streamlining of the same QONNX file, and classifies the
differences by their reason."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flows.finn import frontend
from hw import finn
from hw.finn.execution import calling_finn
from hw.host.errors import BitfabricError, UsageError
from hw.host.steps import run
from hw.ir.graph import Graph
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.context import Decision
from hw.model import Model, Qonnx

NEAR = 2.0**-16
"""Relative distance of a value from a decision point that float32 arithmetic in another order can cross."""


@dataclass
class Difference:
    """Counts of integers for which the two choose different codes, over all channels and codes of all layers.

    Attributes:
        points: decision points compared.
        ties: integers whose value lies exactly between two codes. QONNX rounds them in the model's rounding mode (to
            even, by default), FINN rounds up.
        rounding: integers whose value is within float32 rounding of a decision point; FINN computes it by other
            operations.
        narrowed: thresholds that FINN clips because its accumulator type is too narrow for a reachable popcount. This
            happens in FINN's build flow after its Python execution.
        unexplained: descriptions of all other differences.
    """

    points: int = 0
    ties: int = 0
    rounding: int = 0
    narrowed: int = 0
    unexplained: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """The counts in one line."""
        return (
            f"{self.points} decision points: {self.ties} ties, {self.rounding} within float32 rounding, "
            f"{self.narrowed} lost to narrow accumulators, {len(self.unexplained)} unexplained"
        )


@dataclass(frozen=True)
class _Pair:
    """A layer with weights and the quantizer after it, with their names."""

    name: str
    layer: MatrixVector | Depthwise
    quantized: str
    quantizer: Threshold | Requant


def compare(model: Path | str) -> Difference:
    """Compare our lowering of a QONNX file with FINN's, layer by layer, over all sums that can reach each quantizer.

    Raises BitfabricError where FINN cannot map the network, or where its layers do not correspond to ours.
    """
    opened = Model.open(model)
    if not isinstance(opened.frontend, Qonnx):
        raise UsageError(f"{model} is no QONNX model; FINN's streamlining starts from one")
    lowering = opened.frontend.lowering
    made = frontend.dataflow(opened)
    theirs, ours = finn.read(made), finn.adapted(lowering.graph)
    with calling_finn(model):
        narrow = finn.read(frontend.minimized(made))
    result = Difference()
    pairs = _pairs(ours), _pairs(theirs), _pairs(narrow)
    if len({len(each) for each in pairs}) != 1:
        raise BitfabricError(
            f"{model}: {len(pairs[0])} layers of ours are {len(pairs[1])} of FINN's; nothing to compare"
        )
    left = list(zip(pairs[1], pairs[2], strict=True))
    for mine in pairs[0]:
        # Branches can be in another order: layers are matched by their weights.
        at = next(
            (i for i, (other, _) in enumerate(left) if np.array_equal(mine.layer.weights, other.layer.weights)), None
        )
        if at is None:
            result.unexplained.append(f"{mine.name}: FINN has no layer of these weights")
            continue
        other, less = left.pop(at)
        _layer(lowering.graph, lowering.decisions[mine.quantized], mine, other, result)
        table, clipped = _table(other), _table(less)
        _, high = other.layer.output_range()
        reachable = table <= np.asarray(high).reshape(-1, 1)
        result.narrowed += int((reachable & (clipped < table)).sum())
    return result


def _pairs(graph: Graph) -> list[_Pair]:
    readers = {edge: node for node in graph for edge in node.inputs}
    found = []
    for node in graph:
        reader, layer = readers.get(node.outputs[0]), node.kernel
        quantizer = None if reader is None else reader.kernel
        if isinstance(layer, MatrixVector | Depthwise) and isinstance(quantizer, Threshold | Requant):
            assert reader is not None
            found.append(_Pair(node.name, layer, reader.name, quantizer))
    return found


def _table(pair: _Pair) -> np.ndarray:
    """Thresholds (channels, steps) of a quantizer."""
    if isinstance(pair.quantizer, Requant):
        return finn.requant.as_thresholds(pair.quantizer, pair.layer.output_range()).thresholds
    return pair.quantizer.thresholds


def _turned(graph: Graph, pair: _Pair) -> np.ndarray:
    """Whether the weights of each channel have the opposite sign of those in the graph, bool (channels,)."""
    original = graph.node(pair.name).kernel
    assert isinstance(original, MatrixVector | Depthwise)
    return np.any(original.weights != pair.layer.weights, axis=1)


def _reach(graph: Graph, decision: Decision, pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
    """The reachable range of each channel's sum, with the sign that ``pair`` has."""
    turned, source = _turned(graph, pair), decision.source
    return np.where(turned, -source.high, source.low), np.where(turned, -source.low, source.high)


def _codes(pair: _Pair) -> tuple[int, int]:
    """The minimum and maximum code of a pair's table; 0 and 1 for a quantizer of two values."""
    kernel, steps = pair.quantizer, _table(pair).shape[1]
    if kernel.output_dtype.name in ("BIPOLAR", "BINARY"):
        return 0, 1
    if isinstance(kernel, Requant):
        low, high = pair.layer.output_range()
        least = int(finn.requant.as_thresholds(kernel, (low, high)).output_min or 0)
    else:
        least = int(kernel.output_dtype.min()) if kernel.output_min is None else kernel.output_min
    return least, least + steps


def _reaching(pair: _Pair, first: int, last: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The minimum sum with at least each code above ``first``, up to ``last``; (channels, codes).

    It is ``low`` for codes that every possible sum reaches, and ``high`` + 1 for codes that none reaches.
    """
    least, most = _codes(pair)
    table = np.clip(_table(pair), low, high + 1)
    always = np.broadcast_to(low, (len(table), least - first))
    never = np.broadcast_to(high + 1, (len(table), last - most))
    return np.hstack((always, table, never))


def _layer(graph: Graph, decision: Decision, mine: _Pair, other: _Pair, result: Difference) -> None:
    """Compare the decision points of one layer; both have the same weights."""
    name, a = mine.quantized, mine.layer
    low, high = (end.reshape(-1, 1) for end in _reach(graph, decision, mine))
    codes = [_codes(pair) for pair in (mine, other)]
    first, last = min(low for low, _ in codes), max(high for _, high in codes)
    ours, theirs = (_reaching(pair, first, last, low, high) for pair in (mine, other))
    result.points += ours.size
    turned = _turned(graph, mine)
    for channel, code in np.argwhere(ours != theirs):
        first, last = sorted((int(ours[channel, code]), int(theirs[channel, code])))
        step = a.input_dtype.name == "BIPOLAR" and a.weight_dtype.name == "BIPOLAR"
        between = np.array([x for x in range(first, last) if not step or (x - int(low[channel, 0])) % 2 == 0])
        if not between.size:
            continue  # the parity of a sum of +-1 products is fixed, so only every second sum is possible
        distance = _distance(decision, -between if turned[channel] else between, int(channel))
        if np.all(distance == 0):
            result.ties += between.size
        elif np.all(distance <= NEAR):
            result.rounding += between.size
        else:
            result.unexplained.append(
                f"{name}: channel {channel} between {first} and {last - 1}, {float(distance.max()):.2g} away"
            )


def _distance(decision: Decision, integers: np.ndarray, channel: int) -> np.ndarray:
    """The relative distance of the model's values, for these integers of one channel, from a decision point."""
    source, head = decision.source, decision.steps
    frames = np.zeros((len(integers), *(1,) * (len(source.shape) - 1), source.channels))
    frames[..., channel] = integers.reshape(-1, *(1,) * (len(source.shape) - 1))
    values = run(head[:-1], frames)
    if head[-1].op == "Quant":
        scale, zero_point = (operand.astype(values.dtype) for operand in head[-1].operands)
        values = values / scale + zero_point
        decisions = np.floor(values) + 0.5
    else:
        decisions = np.zeros_like(values)
    size = np.maximum(np.abs(values), 1.0)
    return (np.abs(values - decisions) / size)[..., channel].reshape(len(integers))
