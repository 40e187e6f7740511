"""What rules of kernels that compute each channel on its own have in common."""

from collections.abc import Sequence

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.graph import Node
from hw.passes.removal.channels import grouped
from hw.passes.removal.state import State, stated_range


def bound_groups(
    state: State, node: Node, source: np.ndarray, keys: Sequence[object], constant: np.ndarray, tiles: int = 1
) -> np.ndarray:
    """The sources of a kernel's output channels, (C,); -1 for constant ones.

    ``source`` are those of the input's channels, ``keys`` the functions of these: channels of the same source and key
    are equal. An output channel can be its own source only where the input's is, so what parts the channels of one
    source is refused to the input, in which ``tiles`` copies of the channels follow each other.
    """
    parts, count = state.parts[node.outputs[0]], len(source)
    groups = grouped(list(zip(source.tolist(), keys, parts.tolist(), strict=True)))
    removed = constant & (parts < 0)
    groups = np.where(removed, -1, np.where(constant, np.arange(count), groups))
    first = np.where(groups < 0, 0, groups)
    wrong = (groups >= 0) & (source[first] != first)
    state.refuse_at(node, np.tile(np.where(wrong, groups, -1), tiles))
    return groups


def input_range(state: State, node: Node, dtype: BaseDataType, number: int = 0) -> tuple[int, int] | None:
    """The range of a kernel's input in the reduced graph, whose type is ``dtype``, where the original states one."""
    if stated_range(node.kernel, number) is None:
        return None
    kept = state.kept_at(node, number)
    low, high = state.read(node, number).reduced_range()
    least, most = int(low[kept].min()), int(high[kept].max())
    return max(least, int(dtype.min())), min(most, int(dtype.max()))
