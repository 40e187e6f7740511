"""What every model is, for training and export."""

from typing import Any

import torch

from quant.schemes.scheme import Scheme


class Network(torch.nn.Module):
    """Base of every model: (N, *input_shape) float32 -> (N, classes) float32 logits.

    The input holds whole numbers in the data's own scale, ``in_range`` = (low, high); quantizing it is the
    network's first layer. ``name`` and ``scheme`` say what was built.
    """

    options: dict[str, Any]  # what ``create_model`` was given besides name and scheme

    def __init__(
        self, name: str, scheme: Scheme, input_shape: tuple[int, ...], classes: int, in_range: tuple[int, int]
    ) -> None:
        super().__init__()
        self.name, self.scheme = name, scheme
        self.input_shape, self.classes, self.in_range = input_shape, classes, in_range
