"""Metrics of a model: accuracy, and the weights, memory and operations of each layer."""

import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.proxy import ActQuantProxyFromInjector
from torch.nn import functional

from quant.lookup.tables import TableLayer
from quant.models.network import Network

__all__ = [
    "FLOAT_BITS",
    "LayerSummary",
    "Summary",
    "accuracy",
    "summary",
]

FLOAT_BITS = 32


@torch.no_grad()
def accuracy(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, batch_size: int = 4096) -> float:
    """Returns the fraction of inputs x (N, ...) whose largest logit is that of the label y (N,).

    The model runs in eval mode; its mode is restored afterwards. Whole numbers are converted to float32 batch by batch.
    """
    training = model.training
    model.eval()
    hits = sum(
        int((model(part if part.is_floating_point() else part.float()).argmax(1) == label).sum())
        for part, label in zip(x.split(batch_size), y.split(batch_size), strict=True)
    )
    model.train(training)
    return hits / len(y)


@dataclass(frozen=True)
class LayerSummary:
    """One linear, convolution or table layer; operations are for one frame.

    ``kind`` is "linear", "conv", "depthwise", "grouped" or "lookup". The weights of the last are the entries of its
    tables, and each wire counts as an operation of one bit. ``input_shape`` and ``output_shape`` exclude the batch.
    ``signed_inputs`` is whether integers at the input have a sign. ``weight_bits`` and
    ``act_bits`` are the widths of the operands that the layer multiplies: 32 for floating point; the sum over a pooling
    window includes the bits that the sum adds. ``nonzeros`` counts the weights that are not zero at inference.
    ``memory_bits`` is the size of the weights, zeros included, and ``bit_operations`` is
    ``macs * weight_bits * act_bits``.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    signed_inputs: bool
    weight_bits: int
    act_bits: int
    weights: int
    nonzeros: int
    memory_bits: int
    macs: int
    bit_operations: int

    @property
    def density(self) -> float:
        """The share of the weights that are not zero."""
        return self.nonzeros / self.weights


_COLUMNS = (
    "layer", "type", "output", "weight bits", "act bits", "weights", "density", "memory bits", "MACs", "bit operations",
)  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A network's weight layers in execution order, and their totals: ``print(summary(model))``.

    Let a and a* be the size of the weights before (32-bit floating point) and after quantization, as in Cheng, Wang,
    Zhou, Zhang, "A survey of model compression and acceleration for deep neural networks", section VII.
    ``compression_rate`` is ``a / a*`` and ``space_saving`` is ``(a - a*) / a``. (The survey's eq. 9 prints
    ``(a - a*) / a*``, which is the compression rate minus 1 and not a fraction of the original size.) ``speed_up`` is
    an estimate of the survey's ``s / s*``: bit operations at 32 x 32 bits divided by those at the layers' widths.
    Hardware whose area is dominated by multiplications gains about this factor; a processor does not.

    Biases, BatchNorm and scales are not counted, because hardware folds them into thresholds.
    """

    layers: tuple[LayerSummary, ...]

    def __iter__(self) -> Iterator[LayerSummary]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def weights(self) -> int:
        return sum(row.weights for row in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(row.nonzeros for row in self.layers)

    @property
    def density(self) -> float:
        """The share of the weights that are not zero."""
        return self.nonzeros / self.weights

    @property
    def memory_bits(self) -> int:
        return sum(row.memory_bits for row in self.layers)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.layers)

    @property
    def bit_operations(self) -> int:
        return sum(row.bit_operations for row in self.layers)

    @property
    def compression_rate(self) -> float:
        return FLOAT_BITS * self.weights / self.memory_bits

    @property
    def space_saving(self) -> float:
        return 1.0 - self.memory_bits / (FLOAT_BITS * self.weights)

    @property
    def speed_up(self) -> float:
        return FLOAT_BITS**2 * self.macs / self.bit_operations

    def totals(self) -> dict[str, Any]:
        """Returns the totals by name."""
        names = (
            "weights", "nonzeros", "density", "memory_bits", "macs", "bit_operations", "compression_rate",
            "space_saving", "speed_up",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Returns ``layers``, a list with one dictionary per layer, and ``totals``."""
        return {"layers": [{**asdict(row), "density": row.density} for row in self.layers], "totals": self.totals()}

    def _cells(self) -> list[list[str]]:
        rows = [
            [
                row.name, row.kind, "x".join(map(str, row.output_shape)), str(row.weight_bits), str(row.act_bits),
                f"{row.weights:,}", f"{row.density:.1%}", f"{row.memory_bits:,}", f"{row.macs:,}",
                f"{row.bit_operations:,}",
            ]
            for row in self.layers
        ]  # fmt: skip
        sizes = (f"{n:,}" for n in (self.memory_bits, self.macs, self.bit_operations))
        return [*rows, ["total", "", "", "", "", f"{self.weights:,}", f"{self.density:.1%}", *sizes]]

    def _conclusion(self) -> str:
        return (
            f"against 32-bit floating point: {self.compression_rate:.1f} times smaller ({self.space_saving:.1%} "
            f"saved), about {self.speed_up:.0f} times fewer bit operations"
        )

    def __str__(self) -> str:
        cells = [list(_COLUMNS), *self._cells()]
        sizes = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
        lines = [
            "  ".join(
                cell.ljust(size) if i < 2 else cell.rjust(size)
                for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, self._conclusion()])

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        rows = "".join(line(row, "td") for row in self._cells())
        return f"<table>{line(list(_COLUMNS), 'th')}{rows}</table><p>{self._conclusion()}</p>"


class _Traced(torch.Tensor):
    """A tensor that carries the bit width of its integers, and their sign, through pools, reshapes and additions."""

    bits: int
    signed: bool

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, cls):
            every = [b for a in args for b in (a if isinstance(a, tuple | list) else (a,))]  # cat has a list
            known = [a for a in every if isinstance(a, cls) and hasattr(a, "bits")]
            result.bits = max((a.bits for a in known), default=FLOAT_BITS)
            result.signed = any(a.signed for a in known) or not known
            if func in (functional.avg_pool1d, functional.avg_pool2d):
                window = args[1] if isinstance(args[1], tuple) else (args[1],) * (args[0].dim() - 2)
                result.bits += math.ceil(math.log2(math.prod(window)))
        return result


@torch.no_grad()
def summary(model: Network) -> Summary:
    """Returns the sizes and operations of every linear, convolution and table layer, for one frame of zeros.

    >>> from quant import create_model
    >>> sizes = summary(create_model("tfc-w1a1"))
    >>> sizes.weights, sizes.memory_bits
    (12928, 12928)
    """
    rows: list[LayerSummary] = []
    names = {module: name for name, module in model.named_modules()}
    entered: dict[torch.nn.Module, tuple[int, bool]] = {}  # bits and sign of the inputs

    def untrace(_module, inputs):  # type: ignore[no-untyped-def]
        return tuple(x.as_subclass(torch.Tensor) for x in inputs)

    def tracing(signed: bool) -> Any:
        def mark(_module, _inputs, output):  # type: ignore[no-untyped-def]
            values = output[0].as_subclass(_Traced)
            values.bits, values.signed = int(output[3]), signed
            return (values, *output[1:])

        return mark

    def enter(layer, inputs):  # type: ignore[no-untyped-def]
        entered[layer] = getattr(inputs[0], "bits", FLOAT_BITS), getattr(inputs[0], "signed", True)
        return untrace(layer, inputs)

    def measure(layer, inputs, output) -> None:  # type: ignore[no-untyped-def]
        act_bits, signed = entered[layer]
        quantized = layer.quant_weight() if layer.weight_quant.is_quant_enabled else None
        bits = FLOAT_BITS if quantized is None else int(quantized.bit_width)
        values = layer.weight if quantized is None else quantized.value
        weights = values.numel()
        # each output element is a product with one row of the weight matrix
        macs = output[0].numel() * weights // layer.weight.shape[0]
        rows.append(
            LayerSummary(
                name=names[layer],
                kind=_kind(layer),
                input_shape=tuple(inputs[0].shape[1:]),
                output_shape=tuple(output.shape[1:]),
                signed_inputs=signed,
                weight_bits=bits,
                act_bits=act_bits,
                weights=weights,
                nonzeros=int(torch.count_nonzero(values)),
                memory_bits=bits * weights,
                macs=macs,
                bit_operations=macs * bits * act_bits,
            )
        )

    def measure_tables(layer, inputs, output) -> None:  # type: ignore[no-untyped-def]
        codes = layer.codes()
        wires = output[0].numel() * layer.fan_in
        rows.append(
            LayerSummary(
                name=names[layer],
                kind="lookup",
                input_shape=tuple(inputs[0].shape[1:]),
                output_shape=tuple(output.shape[1:]),
                signed_inputs=False,
                weight_bits=1,
                act_bits=1,
                weights=codes.numel(),
                nonzeros=int(codes.sum()),
                memory_bits=codes.numel(),
                macs=wires,
                bit_operations=wires,
            )
        )

    training = model.training
    hooks = []
    for module in names:
        if isinstance(module, TableLayer):
            hooks.append(module.register_forward_hook(measure_tables))
        elif isinstance(module, QuantWeightBiasInputOutputLayer):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(measure)]
        elif isinstance(module, ActQuantProxyFromInjector) and module.is_quant_enabled:
            quantizer: Any = module.fused_activation_quant_proxy.tensor_quant
            hooks += [
                quantizer.register_forward_pre_hook(untrace),
                quantizer.register_forward_hook(tracing(bool(module.is_signed))),
            ]
    try:
        parameter = next(model.parameters())
        model.eval()(torch.zeros(1, *model.input_shape, device=parameter.device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Summary(tuple(rows))


def _kind(layer: Any) -> str:
    groups = getattr(layer, "groups", None)
    if groups is None:
        return "linear"
    return "conv" if groups == 1 else "depthwise" if groups == layer.in_channels else "grouped"
