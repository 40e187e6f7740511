"""Metrics of a model: accuracy, and the weights, memory and operations of each layer."""

import math
from dataclasses import replace
from typing import Any

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.proxy import ActQuantProxyFromInjector
from brevitas.quant_tensor import IntQuantTensor, QuantTensor
from torch.nn import functional

from quant.cost import MAX_BITS, CostModel, LayerBits, LayerShape
from quant.errors import QuantError
from quant.function_tensors import tensors_in
from quant.layer_summary import FLOAT_BITS, LayerSummary, Summary
from quant.layers import Experts
from quant.lookup.tables import TableLayer
from quant.lookup.thermometer import Thermometer
from quant.models.network import Network, integer_type

__all__ = [
    "accuracy",
    "cost_input",
    "csd_digits",
    "has_cost",
    "summary",
]


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


def csd_digits(codes: torch.Tensor) -> torch.Tensor:
    """Returns the number of digits other than 0 of each integer in canonical signed-digit form, of the same shape.

    No two of these digits (-1, 0, 1) are neighbours; their number is that of the ones in ``v xor 3 v``.
    """
    size = codes.abs().to(torch.int64)
    ones = size ^ (3 * size)
    longest = int(ones.max()).bit_length() if ones.numel() else 0
    return sum((((ones >> bit) & 1) for bit in range(longest)), torch.zeros_like(ones))


def cost_input(layer: Any, row: LayerSummary) -> tuple[LayerShape, LayerBits]:
    """Returns what a cost model asks of a layer, given its row of the summary."""
    ternary = row.weight_bits == 2 and bool(layer.weight_quant.is_narrow_range)
    bits = LayerBits("ternary" if ternary else row.weight_bits, min(MAX_BITS, row.act_bits), row.signed_inputs)
    if row.kind in ("linear", "experts"):
        return LayerShape(layer.in_features, layer.out_features, image=row.input_shape[:-1]), bits
    sizes = {"image": row.input_shape[1:]}
    padding = tuple(before for before, _ in _pads(layer))
    pointwise = set(layer.kernel_size) == set(layer.stride) == {1} and not any(padding) and layer.groups == 1
    if not pointwise:
        sizes |= {"kernel": tuple(layer.kernel_size), "stride": tuple(layer.stride), "padding": padding,
                  "dilation": tuple(layer.dilation)}  # fmt: skip
    return LayerShape(layer.in_channels, layer.out_channels, groups=layer.groups, **sizes), bits


def has_cost(layer: Any, row: LayerSummary) -> bool:
    """Returns whether a cost model knows a layer, given its row of the summary (``LayerShape``)."""
    if FLOAT_BITS in (row.weight_bits, row.act_bits) or row.weight_bits > MAX_BITS:
        return False
    if row.kind == "linear":
        return True
    if row.kind not in ("conv", "depthwise") or any(before != after for before, after in _pads(layer)):
        return False
    return layer.out_channels == layer.in_channels if row.kind == "depthwise" else len(layer.kernel_size) <= 2


def _pads(layer: Any) -> list[tuple[int, int]]:
    """The elements of padding of a convolution before and after each axis, also of ``padding="same"``."""
    ends = layer._reversed_padding_repeated_twice  # of the last axis first
    return list(zip(ends[::2], ends[1::2], strict=True))[::-1]


_TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)
_LAYERS = (QuantWeightBiasInputOutputLayer, torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, *_TRANSPOSED)
"""Layers with weights, those of torch in a float network included."""


_SUMS = {
    torch.mean, torch.Tensor.mean, torch.sum, torch.Tensor.sum, functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d,
}  # fmt: skip
"""Averages and sums over whole images, or over equal parts of them."""


class _Traced(torch.Tensor):
    """A tensor that carries the bit width of its integers, and their sign, through pools, reshapes and additions."""

    bits: int
    signed: bool

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        known = [each for each in tensors_in([args, kwargs]) if isinstance(each, cls) and hasattr(each, "bits")]
        for made in tensors_in(result):
            if isinstance(made, cls):
                made.bits = max((each.bits for each in known), default=FLOAT_BITS)
                made.signed = any(each.signed for each in known) or not known
                if known and made.bits != FLOAT_BITS:
                    made.bits += _added_bits(func, args, kwargs or {}, known[0], made)
        return result


def _added_bits(func: Any, args: Any, kwargs: Any, given: torch.Tensor, made: torch.Tensor) -> int:
    """The bits that a sum over a window of ``given`` adds to its integers."""
    if func in (functional.avg_pool1d, functional.avg_pool2d):
        size = kwargs["kernel_size"] if "kernel_size" in kwargs else args[1]
        window = size if isinstance(size, tuple | list) else (size,) * (given.dim() - 2)
        return math.ceil(math.log2(math.prod(window)))
    return math.ceil(math.log2(-(-given.numel() // made.numel()))) if func in _SUMS else 0


def _traced(x: torch.Tensor, bits: int, signed: bool) -> torch.Tensor:
    traced = x.as_subclass(_Traced)
    traced.bits, traced.signed = bits, signed
    return traced


def _values(x: Any) -> torch.Tensor:
    """The values of a tensor or of a ``QuantTensor``, which layers of Brevitas take and give as well."""
    values: torch.Tensor = x.value if isinstance(x, QuantTensor) else x
    return values


def _untraced(x: Any) -> Any:
    if isinstance(x, QuantTensor):
        return x.set(value=_untraced(x.value))
    return x.as_subclass(torch.Tensor) if isinstance(x, torch.Tensor) else x


def _width(x: Any) -> tuple[int, bool]:
    """Bits and sign of the integers of a layer's input."""
    if isinstance(x, IntQuantTensor):
        return int(x.bit_width), bool(x.signed)
    values = _values(x)
    return getattr(values, "bits", FLOAT_BITS), getattr(values, "signed", True)


def _whole_numbers(model: Network) -> tuple[int, bool] | None:
    """Bits and sign of the data's whole numbers, where a network of a user's own may read them as they are."""
    if getattr(model, "source", None) is None or model.normalizes or not model.scheme.quantizes:
        return None
    return integer_type(model.in_range)


@torch.no_grad()
def summary(model: Network, cost: CostModel | None = None) -> Summary:
    """Returns the sizes and operations of every linear, convolution and table layer, for one frame of zeros.

    ``cost`` (``flows.cost.HardwareCost``) adds the cost of each quantized layer in hardware, for its integers, with
    their zeros and ties. Layers in groups other than depthwise ones, experts, tables and floating point have none
    (``has_cost``).

    >>> from quant import create_model
    >>> sizes = summary(create_model("tfc-w1a1"))
    >>> sizes.weights, sizes.memory_bits
    (12928, 12928)
    """
    rows: list[LayerSummary] = []
    names = {module: name for name, module in model.named_modules()}
    sets = {module.linear: module.experts for module in names if isinstance(module, Experts)}
    entered: dict[torch.nn.Module, tuple[int, bool]] = {}  # bits and sign of the inputs

    def untrace(_module, inputs):  # type: ignore[no-untyped-def]
        return tuple(_untraced(x) for x in inputs)

    def tracing(signed: bool) -> Any:
        def mark(_module, _inputs, output):  # type: ignore[no-untyped-def]
            return (_traced(output[0], int(output[3]), signed), *output[1:])

        return mark

    frame = torch.zeros(1, *model.input_shape, device=next(model.parameters()).device)
    if (whole := _whole_numbers(model)) is not None:
        frame = _traced(frame, *whole)

    def enter(layer, inputs):  # type: ignore[no-untyped-def]
        entered[layer] = _width(inputs[0])
        return untrace(layer, inputs)

    def measure(layer, inputs, output) -> None:  # type: ignore[no-untyped-def]
        frames, output = _values(inputs[0]), _values(output)
        act_bits, signed = entered[layer]
        proxy = getattr(layer, "weight_quant", None)  # a layer of torch has none
        quantized = layer.quant_weight() if proxy is not None and proxy.is_quant_enabled else None
        bits = FLOAT_BITS if quantized is None else int(quantized.bit_width)
        values = layer.weight if quantized is None else quantized.value
        weights = values.numel()
        if quantized is not None and not bool(values.isfinite().all()):
            cause = (
                "an integer quantizer of 1 bit has no level but 0: take 2 bits, or a binary quantizer"
                if bits == 1
                else "a training that diverged leaves such weights"
            )
            raise QuantError(f"layer {names[layer]}: its {bits}-bit weights are not finite; {cause}")
        codes = None if quantized is None else torch.round(values / quantized.scale).to(torch.int64)
        # Each output element is a product with one row of the weight matrix; each input element of a transposed
        # convolution is multiplied by all weights of its channel.
        elements = frames[0].numel() if isinstance(layer, _TRANSPOSED) else output[0].numel()
        # Of a layer of experts one computes a frame.
        experts = sets.get(layer, 1)
        macs = elements * weights // layer.weight.shape[0] // experts
        rows.append(
            LayerSummary(
                name=names[layer],
                kind="experts" if experts > 1 else _kind(layer),
                input_shape=tuple(frames.shape[1:]),
                output_shape=(*output.shape[1:-1], output.shape[-1] // experts)
                if experts > 1
                else tuple(output.shape[1:]),
                signed_inputs=signed,
                weight_bits=bits,
                act_bits=act_bits,
                weights=weights,
                nonzeros=int(torch.count_nonzero(values)),
                memory_bits=bits * weights,
                macs=macs,
                bit_operations=macs * bits * act_bits,
                distinct=0 if codes is None else len(codes.unique()),
                csd_digits=0 if codes is None else int(csd_digits(codes).sum()),
            )
        )
        if cost is not None and has_cost(layer, rows[-1]):
            assert codes is not None
            shape, bits_of = cost_input(layer, rows[-1])
            integers = codes.cpu().numpy().reshape(shape.weights)
            rows[-1] = replace(rows[-1], cost=cost(shape, bits_of, rows[-1].density, integers=integers))

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
                distinct=len(codes.unique()),
                csd_digits=int(codes.sum()),
            )
        )

    training = model.training
    hooks = []
    for module in names:
        if isinstance(module, TableLayer):
            hooks.append(module.register_forward_hook(measure_tables))
        elif isinstance(module, _LAYERS):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(measure)]
        elif isinstance(module, ActQuantProxyFromInjector) and module.is_quant_enabled:
            quantizer: Any = module.fused_activation_quant_proxy.tensor_quant
            hooks += [
                quantizer.register_forward_pre_hook(untrace),
                quantizer.register_forward_hook(tracing(bool(module.is_signed))),
            ]
    try:
        model.eval()(frame)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Summary(tuple(rows), sum(module.outputs for module in names if isinstance(module, Thermometer)))


def _kind(layer: Any) -> str:
    if isinstance(layer, _TRANSPOSED):
        return "transposed"
    groups = getattr(layer, "groups", None)
    if groups is None:
        return "linear"
    return "conv" if groups == 1 else "depthwise" if groups == layer.in_channels else "grouped"
