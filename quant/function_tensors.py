"""The tensors that a function of torch takes and gives, for tensors that pass on what they know through functions.

``torch.Tensor.__torch_function__`` hands over a function's arguments as they were written: by place or by name, and in
lists (``torch.cat``). Its result may be several tensors (``chunk``, ``split``, ``max`` over an axis) or none.
"""

from collections.abc import Iterator
from typing import Any

import torch


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors among arguments or results, also those in tuples, lists and dictionaries."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for each in values:
            yield from tensors_in(each)
    elif isinstance(values, dict):
        yield from tensors_in(list(values.values()))
