"""The rules of QONNX's operators with channels last, from those of ONNX's operators.

QONNX defines them by ONNX's operators on transposed tensors: input and output are (N, *spatial, C), the weights of a
Conv (M, *kernel, C / groups). Source: ``qonnx.custom_op.channels_last.base_wrapped_op``.
"""

from dataclasses import replace

from hw.host.errors import BitfabricError
from hw.lowering.gate import elementwise, spatial
from hw.lowering.gate.site import Rule, Shape, Site, Tensor


class ChannelsFirst(Site):
    """A node whose tensors are seen with channels first."""

    def error(self, why: str, remedy: str = "export the model again") -> BitfabricError:
        return super().error(f"{why} (shapes with channels first)", remedy)


def channels_last(rule: Rule) -> Rule:
    """The rule of an operator with channels last, from the ``rule`` of ONNX's."""

    def transposed(site: Site) -> list[tuple[Shape, int]]:
        rank = len(site.shape())
        inputs = tuple(None if each is None else _channels_first(each, rank) for each in site.inputs)
        outputs = rule(ChannelsFirst(site.node, inputs, site.version))
        return [((*shape[:1], *shape[2:], shape[1]) if len(shape) == rank else shape, kind) for shape, kind in outputs]

    return transposed


def _channels_first(tensor: Tensor, rank: int) -> Tensor:
    """The data or the weights; other operands have one axis."""
    shape = tensor.shape
    return replace(tensor, shape=(*shape[:1], *shape[-1:], *shape[1:-1])) if len(shape) == rank > 1 else tensor


RULES: dict[str, Rule] = {
    "BatchNormalization": channels_last(elementwise.batch_normalization),
    "Conv": channels_last(spatial.conv),
    "MaxPool": channels_last(spatial.max_pool),
}
