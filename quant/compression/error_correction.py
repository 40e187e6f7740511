"""Error correction of product quantization: codewords are fitted to the layer's responses, not to its weights.

Let S (n, inputs) be the layer's inputs and T (n, outputs) the target responses. With G = S^T S and C = S^T T, the
squared error of the weight vector w_o of output o is ``w_o^T G w_o - 2 w_o^T C_o`` plus a constant, so G and C are
stored instead of the frames. The inputs of a convolution are its im2col patches; part m of its channels has one
sub-vector for each kernel position.
"""

from dataclasses import dataclass
from typing import Any

import torch

from quant.compression.forms import Codewords
from quant.compression.layerwise import input_rows
from quant.errors import QuantError
from quant.inputs_by_place import inputs_by_place

_FRAMES = 32  # frames per forward pass: im2col enlarges a layer's inputs by the kernel's size


@dataclass(frozen=True)
class Quadratic:
    """A layer's response error as a quadratic function of its weights.

    ``gram`` is G (inputs, inputs), ``cross`` is C (inputs, outputs) and ``constant`` is ``||T||**2``.
    """

    gram: torch.Tensor
    cross: torch.Tensor
    constant: float

    @classmethod
    @torch.no_grad()
    def measure(
        cls, small: torch.nn.Module, reference: torch.nn.Module, name: str, inputs: torch.Tensor, weight: torch.Tensor
    ) -> "Quadratic":
        """Accumulates the function over ``inputs``, frames for the whole network.

        S are the inputs of layer ``name`` in the compressed network ``small``. T are the responses of the uncompressed
        network ``reference``, computed with the layer's original ``weight``.
        """
        flat = weight.reshape(len(weight), -1).double().T
        gram, cross, constant = torch.zeros(len(flat), len(flat)).double().to(flat), torch.zeros_like(flat), 0.0
        for part in inputs.split(_FRAMES):
            seen, wanted = (_layer_inputs(network, name, part) for network in (small, reference))
            response = wanted @ flat
            gram += seen.T @ seen
            cross += seen.T @ response
            constant += float((response**2).sum())
        return cls(gram, cross, constant)

    def error(self, weight: torch.Tensor) -> float:
        """Returns ``sum_n ||T_n - W S_n||**2`` for a weight (out, in, *kernel)."""
        w = weight.detach().reshape(len(weight), -1).double().T
        return float((w * (self.gram @ w - 2 * self.cross)).sum()) + self.constant


def running_order(model: torch.nn.Module, inputs: torch.Tensor, names: list[str]) -> list[str]:
    """Returns the layers' names in execution order.

    Raises QuantError (status 2) for a layer that cannot be corrected and for one that the network does not run.
    """
    order: list[str] = []
    modules = dict(model.named_modules())
    for name in names:
        layer = modules[name]
        kinds = torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d
        if not isinstance(layer, kinds) or getattr(layer, "groups", 1) != 1:
            raise QuantError(
                f"layer {name} is neither linear nor an ungrouped 1-D or 2-D convolution: choose layers without it, or "
                "leave out inputs",
                status=2,
            )

    def note(name: str):  # type: ignore[no-untyped-def]
        def hook(*_: Any) -> None:
            if name not in order:
                order.append(name)

        return hook

    hooks = [modules[name].register_forward_hook(note(name)) for name in names]
    try:
        with torch.no_grad():
            model(inputs[:1])
    finally:
        for handle in hooks:
            handle.remove()
    for name in names:
        if name not in order:
            raise QuantError(f"the network does not run layer {name}: choose other layers", status=2)
    return order


def _layer_inputs(network: torch.nn.Module, name: str, inputs: torch.Tensor) -> torch.Tensor:
    """Returns the vectors (n, inputs) float64 that the layer's weight rows are multiplied with."""
    layer: Any = network.get_submodule(name)
    seen: list[torch.Tensor] = []

    def keep(_layer: Any, arguments: tuple[Any, ...]) -> None:
        [rows] = input_rows(layer, getattr(arguments[0], "value", arguments[0]))
        seen.append(rows.double())

    handle = layer.register_forward_pre_hook(keep)
    try:
        with inputs_by_place(network):
            network(inputs)
    finally:
        handle.remove()
    return torch.cat(seen)


@torch.no_grad()
def correct(form: Codewords, quadratic: Quadratic, rounds: int) -> None:
    """Reduces the response error of ``form`` (one stage) in place.

    Each of the ``rounds`` visits the parts in order: it fits the part's codewords, then reassigns them.
    """
    shape = form.shape
    outputs, channels, positions = shape[0], shape[1], shape[2:].numel()
    # rows are (output, position), inputs are (channel, position)
    codebooks, index = form.codebooks[0].double(), form.index[0].long().view(-1, outputs, positions)
    parts, _, length = codebooks.shape
    at = torch.arange(channels * positions, device=codebooks.device).view(channels, positions).T  # (position, channel)
    weight = form(torch.empty(0)).double().reshape(outputs, -1)
    for _ in range(rounds):
        for part in range(parts):
            inputs = at[:, part * length : (part + 1) * length]  # (positions, length of this part)
            width = inputs.shape[1]
            book = codebooks[part, :, :width]
            _fit_codewords(book, index[part], weight, inputs, quadratic)
            for position in range(positions):
                _reassign(book, index[part], weight, inputs, position, quadratic)
    form.codebooks.copy_(codebooks.unsqueeze(0))
    form.index.copy_(index.flatten(1).unsqueeze(0))


def _fit_codewords(
    book: torch.Tensor, index: torch.Tensor, weight: torch.Tensor, inputs: torch.Tensor, quadratic: Quadratic
) -> None:
    """Fits the codewords of one part by least squares, the other parts fixed; updates ``book`` and ``weight``."""
    size, width = book.shape
    positions = inputs.shape[0]
    choice = torch.nn.functional.one_hot(index, size).to(weight)  # (outputs, positions, size)
    normal = torch.zeros(size, width, size, width, dtype=weight.dtype, device=weight.device)
    for p in range(positions):
        for q in range(positions):
            pairs = choice[:, p].T @ choice[:, q]
            normal += pairs[:, None, :, None] * quadratic.gram[inputs[p]][:, inputs[q]][None, :, None, :]
    right = torch.zeros(size, width, dtype=weight.dtype, device=weight.device)
    for p in range(positions):
        slope = quadratic.cross[inputs[p]] - quadratic.gram[inputs[p]] @ weight.T  # half the negative gradient
        right += choice[:, p].T @ slope.T
    matrix = normal.view(size * width, size * width)
    # Slight damping keeps unused codewords unchanged; the error still cannot increase.
    damping = 1e-9 * matrix.diagonal().mean() + 1e-30
    matrix.diagonal().add_(damping)
    step = torch.linalg.solve(matrix, right.flatten()).view(size, width)
    book += step
    for p in range(positions):
        weight[:, inputs[p]] += step[index[:, p]]


def _reassign(
    book: torch.Tensor,
    index: torch.Tensor,
    weight: torch.Tensor,
    inputs: torch.Tensor,
    position: int,
    quadratic: Quadratic,
) -> None:
    """Assigns each output its best codeword at one kernel position; updates ``index`` and ``weight`` in place."""
    columns = inputs[position]
    block = quadratic.gram[columns][:, columns]
    old = weight[:, columns]
    target = quadratic.cross[columns].T - weight @ quadratic.gram[:, columns] + old @ block  # (outputs, width)
    cost = ((book @ block) * book).sum(1) - 2 * target @ book.T
    best = cost.argmin(1)
    current = cost.gather(1, index[:, position : position + 1]).squeeze(1)
    best = torch.where(cost.min(1).values < current, best, index[:, position])
    index[:, position] = best
    weight[:, columns] = book[best]
