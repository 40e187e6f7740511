"""Export of each Brevitas quantizer to QONNX: one node that computes the same as the quantizer.

Brevitas's own handlers export the latent weights, followed by a rounding quantizer. That produces different integers
for every quantizer that does not round half to even (floor, A2Q, ...). They also write rounding modes that QONNX does
not define.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from brevitas.core.function_wrapper.stochastic_round import StochasticRoundSte
from brevitas.export.onnx.handler import ONNXBaseHandler
from brevitas.export.onnx.qonnx.function import DOMAIN_STRING
from brevitas.export.onnx.qonnx.manager import QONNXManager
from brevitas.proxy import (
    ActQuantProxyFromInjector,
    BiasQuantProxyFromInjector,
    DecoupledWeightQuantProxyFromInjector,
    DecoupledWeightQuantWithInputProxyFromInjector,
    WeightQuantProxyFromInjector,
)
from brevitas.proxy.quant_proxy import QuantProxyFromInjector
from brevitas.proxy.runtime_quant import TruncQuantProxyFromInjector

from quant.errors import QuantError

PLACE = "place"
"""Temporary attribute of every exported quantizer, until its node is named: the path of its module."""

# Brevitas's rounding modes -> QONNX's. Stochastic rounding is to the nearest in eval mode. Some of Brevitas's layers
# write their names in lower case (``TruncAvgPool2d``).
_ROUNDING = {"ROUND": "ROUND", "CEIL": "CEIL", "FLOOR": "FLOOR", "ROUND_TO_ZERO": "DOWN", "STOCHASTIC_ROUND": "ROUND"}


@dataclass(frozen=True)
class _Operator:
    """A node's operator and its attributes. torch's exporter requires the type as a suffix of an attribute's name."""

    name: str
    attributes: dict[str, Any]


class _Node(torch.autograd.Function):
    """Writes one node ``operator(x, *constants)``.

    ``forward`` returns a placeholder of the right shape, because the trace does not depend on values.
    """

    @staticmethod
    def symbolic(g: Any, x: Any, operator: _Operator, *constants: Any) -> Any:
        node = g.op(f"{DOMAIN_STRING}::{operator.name}", x, *constants, **operator.attributes)
        node.setType(x.type())
        return node

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, operator: _Operator, *constants: torch.Tensor) -> torch.Tensor:
        return x.clone()


class _Handler(ONNXBaseHandler):
    """Base class: ``node`` adds one node with the path of the quantizer's module, ``proxy.place``."""

    def prepare_for_export(self, proxy: Any) -> None:
        # In a tuple: otherwise torch would register the module as a child of its handler.
        self.proxy_of = (proxy,)

    def node(self, operator: str, x: torch.Tensor, *constants: torch.Tensor, **attributes: Any) -> torch.Tensor:
        attributes[f"{PLACE}_s"] = self.proxy_of[0].place
        return _Node.apply(x, _Operator(operator, attributes), *constants)

    def quant(
        self, x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bits: torch.Tensor, rounding: str
    ) -> torch.Tensor:
        """Adds ``Quant``, or ``BipolarQuant`` for signed 1-bit values."""
        [proxy] = self.proxy_of
        if float(bits) == 1 and proxy.is_signed:
            return self.node("BipolarQuant", x, scale)
        signed, narrow = int(bool(proxy.is_signed)), int(bool(proxy.is_narrow_range))
        return self.node(
            "Quant", x, scale, zero_point, bits, rounding_mode_s=rounding, signed_i=signed, narrow_i=narrow
        )


def _is_used(proxy: Any) -> bool:
    """Returns whether the file will have a node for a quantizer."""
    return proxy.is_quant_enabled and getattr(proxy, "place", None) is not None


class _WeightHandler(_Handler):
    """Weights: writes the quantized values, followed by a quantizer that maps each of them to itself."""

    handled_layer = (
        WeightQuantProxyFromInjector,
        DecoupledWeightQuantProxyFromInjector,
        DecoupledWeightQuantWithInputProxyFromInjector,
    )

    def prepare_for_export(self, proxy: Any) -> None:
        super().prepare_for_export(proxy)
        if _is_used(proxy):
            layers = proxy.tracked_module_list
            self.quantized = {layer.weight.data_ptr(): layer.quant_weight() for layer in layers}

    def symbolic_execution(self, x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
        quantized = self.quantized[x.data_ptr()]
        facts = quantized.scale, quantized.zero_point, quantized.bit_width
        value = self.quant(quantized.value, *facts, "ROUND")
        decoupled = isinstance(self.proxy_of[0], DecoupledWeightQuantProxyFromInjector)
        # Decoupled quantizers also return the scale and zero point before the clip, which nothing reads.
        return (value, *facts, *facts[:2]) if decoupled else (value, *facts)


class _BiasHandler(_Handler):
    """Biases: writes quantized values as for weights, unless the scale depends on the layer's input."""

    handled_layer = BiasQuantProxyFromInjector

    def prepare_for_export(self, proxy: Any) -> None:
        super().prepare_for_export(proxy)
        if _is_used(proxy):
            self.rounding = qonnx_rounding(proxy)
            layer = proxy.tracked_module_list[0]
            self.quantized = None if proxy.requires_input_scale else layer.quant_bias()
            if self.quantized is None:
                self.zero_point, self.bits = proxy.tensor_quant(layer.bias, torch.ones(1))[2:]

    def symbolic_execution(self, x: torch.Tensor, input_scale: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        if self.quantized is not None:
            facts = self.quantized.scale, self.quantized.zero_point, self.quantized.bit_width
            return self.quant(self.quantized.value, *facts, "ROUND"), *facts
        assert input_scale is not None
        value = self.quant(x, input_scale, self.zero_point, self.bits, self.rounding)
        return value, input_scale, self.zero_point, self.bits


class _ActHandler(_Handler):
    """Activations: ``Quant``, ``BipolarQuant``, or ``MultiThreshold`` and ``Mul`` for quantizers with thresholds."""

    handled_layer = ActQuantProxyFromInjector

    def prepare_for_export(self, proxy: Any) -> None:
        super().prepare_for_export(proxy)
        if _is_used(proxy):
            quantizer = proxy.fused_activation_quant_proxy.tensor_quant
            self.facts = tuple(fact.detach() for fact in quantizer(proxy._zero_hw_sentinel())[1:])
            self.thresholds = getattr(quantizer, "thresholds", None)
            self.rounding = qonnx_rounding(proxy) if self.thresholds is None else ""

    def symbolic_execution(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scale, zero_point, bits = self.facts
        if self.thresholds is None:
            return self.quant(x, scale, zero_point, bits, self.rounding), scale, zero_point, bits
        # The scale is a separate node: inside MultiThreshold, qonnx and FINN would treat its outputs as floats.
        codes = self.node(
            "MultiThreshold",
            x,
            self.thresholds.reshape(1, -1),
            out_dtype_s=f"UINT{int(bits)}",
            data_layout_s={2: "NC", 3: "NCW", 4: "NCHW"}.get(x.dim(), ""),
        )
        return codes * scale, scale, zero_point, bits


class _TruncHandler(_Handler):
    """Truncation of low bits, for example after an average pool."""

    handled_layer = TruncQuantProxyFromInjector

    def prepare_for_export(self, proxy: Any) -> None:
        super().prepare_for_export(proxy)
        if _is_used(proxy):
            self.rounding = qonnx_rounding(proxy)
            self.facts = proxy.scale(), proxy.bit_width()

    def symbolic_execution(
        self, x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, bits: torch.Tensor, signed: Any
    ) -> tuple[torch.Tensor, ...]:
        [proxy] = self.proxy_of
        out_scale, out_bits = self.facts
        value = self.node(
            "Trunc",
            x,
            scale,
            zero_point,
            bits,
            out_scale,
            out_bits,
            rounding_mode_s=self.rounding,
            signed_i=int(signed),
            narrow_i=int(bool(proxy.is_narrow_range)),
        )
        return value, out_scale, zero_point, out_bits


def qonnx_rounding(proxy: Any) -> str:
    """Returns QONNX's name of a quantizer's rounding mode in eval mode. Raises QuantError if QONNX has none."""
    for module in proxy.modules():
        if hasattr(module, "qonnx_rounding"):
            return module.qonnx_rounding
        if isinstance(module, StochasticRoundSte) and not module.deterministic_inference:
            raise QuantError(
                f"{proxy.place} rounds stochastically even in use, which no hardware repeats: "
                "set deterministic_inference=True"
            )
    mode = str(proxy.rounding_mode).upper()
    if mode not in _ROUNDING:
        raise QuantError(
            f"{proxy.place} rounds with {mode}, which QONNX has not: use one of {', '.join(sorted(_ROUNDING))}"
        )
    return _ROUNDING[mode]


class Manager(QONNXManager):
    """Brevitas's QONNX export with the handlers of this module."""

    handlers = [_WeightHandler, _BiasHandler, _ActHandler, _TruncHandler]  # noqa: RUF012 (Brevitas's own attribute)


def quantizers(model: torch.nn.Module) -> dict[str, Any]:
    """Returns the quantizers of a model that ``prepare`` found to be used, by module path."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, QuantProxyFromInjector) and _is_used(module)
    }


def tensor_quant(proxy: Any) -> torch.nn.Module:
    """Returns the module of a quantizer that computes ``(values, scale, zero point, bit width, ...)``."""
    fused = getattr(proxy, "fused_activation_quant_proxy", None)
    return proxy.tensor_quant if fused is None else fused.tensor_quant


def prepare(model: torch.nn.Module, called: Collection[str]) -> bool:
    """Stores its module path in each quantizer that the model uses; others are not exported.

    ``called`` are the paths of the modules that the model calls; layers of ``quant`` call a quantizer's inner module.
    Returns whether there is any. Raises QuantError for a quantizer that no QONNX node computes.
    """
    reached = {path[:end] for path in called for end in (*_ends(path), len(path))}
    proxies = {
        path: module
        for path, module in model.named_modules()
        if path in reached and isinstance(module, QuantProxyFromInjector) and module.is_quant_enabled
    }
    for path, proxy in proxies.items():
        proxy.place = path
        if Manager.handler_from_module(proxy, no_inheritance=True) is None:
            raise QuantError(
                f"{path} is a {type(proxy).__name__}, which no integers express: use an integer quantizer whose scale "
                "does not depend on the input"
            )
        if proxy.is_groupwise:
            raise QuantError(f"{path} has a scale for each group of weights, which QONNX cannot express: use channels")
    return bool(proxies)


def _ends(path: str) -> list[int]:
    """The lengths of the paths of the modules around a module."""
    return [index for index, letter in enumerate(path) if letter == "."]
