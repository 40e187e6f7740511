"""The network that a quantization after training leaves: a ``Network`` as any other, with the modules' own names."""

from typing import Any

import torch

from quant.models.network import Network
from quant.post_training.calibrated import Calibrated
from quant.post_training.tracing import GraphModule

EXAMPLES = 64
"""Calibration frames that the network keeps, for the check of its export."""


class QuantizedNetwork(Network):
    """A float network with quantizers: (N, *input_shape) float32 -> what the float network returns.

    Its modules have the names that they had there; ``..._quant`` are the quantizers. ``quant.fit`` trains it further,
    and ``quant.export`` writes it. It is not made by ``create_model``, so ``save_checkpoint`` has no description of it:
    save its ``state_dict()``, and load that into the result of the same call of ``quantize``.
    """

    restored_by = "save its state_dict(), and load that into the result of the same call of quantize"

    def __init__(
        self,
        name: str,
        scheme: Calibrated,
        graph: GraphModule,
        frames: torch.Tensor,
        classes: int,
        normalizes: bool | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        self.name, self.scheme = name, scheme
        self.options, self._normalizes = {}, normalizes
        self._target_scale: torch.Tensor | None = None
        self.input_shape, self.classes = tuple(frames.shape[1:]), classes
        self.in_range = float(frames.min()), float(frames.max())  # type: ignore[assignment]
        self.example_frames = frames[:EXAMPLES].numpy().copy()
        for child in list(graph._modules):
            if hasattr(self, child):  # the network's own attribute of that name is another one
                _rename(graph, child, f"{child}_")
        for child, module in graph._modules.items():
            self.add_module(child, module)
        for tensor, value in (*graph.named_parameters(recurse=False), *graph.named_buffers(recurse=False)):
            (self.register_parameter if isinstance(value, torch.nn.Parameter) else self.register_buffer)(tensor, value)
        graph.recompile()
        self._compute = type(graph).forward

    def describe_source(self, source: Network) -> None:
        """Takes over what the float network says of its data: its task, with the scale of numbers, and the names."""
        self.task, self._target_scale = source.task, source.target_scale
        self.class_names, self.feature_names = source.class_names, source.feature_names

    @property
    def normalizes(self) -> bool | None:
        return self._normalizes

    @property
    def target_scale(self) -> torch.Tensor | None:
        return self._target_scale

    def forward(self, x: torch.Tensor) -> Any:
        return self._compute(self, x)


def _rename(graph: GraphModule, old: str, new: str) -> None:
    graph.add_module(new, graph._modules.pop(old))
    for node in graph.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            first, *rest = str(node.target).split(".")
            if first == old:
                node.target = ".".join([new, *rest])
