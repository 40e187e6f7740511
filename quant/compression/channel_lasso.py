"""Channels chosen by a LASSO, with least squares for the weights that read those that are left.

Let a layer with weights W (out, d) read c channels; X_i and W_i are the columns of its inputs X (n, d), and of W, that
belong to channel i. The channels that remain solve

    min over beta of  ||Y - sum_i beta_i X_i W_i^T||^2 / (2 n) + lambda ||beta||_1,

where Y = X0 W^T are the outputs for the inputs X0 in the original network, and lambda is such that few enough beta_i
are not 0. Then the weights become ``argmin over W of ||Y - X W^T||^2`` over the channels that remain. Both follow from
the moments ``A = X^T X / n`` and ``C = X^T X0 / n``: with ``K = W^T W``, the LASSO's Gram matrix is
``G_ij = sum (A * K)`` over the columns of i and j, and its correlations are ``b_i = sum (C * K)`` over those of i.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from quant.compression.criteria import Removable, choose_channels
from quant.compression.layerwise import LARGEST, input_rows
from quant.compression.slimming import slim
from quant.compression.weights import Layer, Layers, Model, check_form, find_layers, latent_of, weight_of
from quant.errors import QuantError
from quant.inputs_by_place import inputs_by_place


def slim_by_lasso(
    model: Model,
    x: torch.Tensor,
    fraction: float = 0.5,
    *,
    granularity: int = 0,
    savings: Mapping[str, float] | None = None,
    layers: Layers = None,
    frames: int = 1024,
    ridge: float = 1e-6,
) -> Model:
    """Returns a copy of ``model`` with fewer channels, layer by layer, with other weights that make up for them.

    From the first layer to the last, a LASSO chooses the channels that a layer goes on reading, and least squares give
    the layer the weights with which its outputs are nearest to those of ``model`` (see this module). It takes the
    channels that exactly one layer reads and one makes; residual sums, depthwise convolutions and concatenations keep
    theirs. The inputs are those of the first ``frames`` of ``x`` (N, ...), at all positions. Quantized layers round the
    new weights; they are trained further like all others.

    ``fraction``, ``granularity`` and ``savings`` are those of ``choose_channels``, which ranks groups together by the
    lambda at which a channel leaves. ``ridge`` times the mean of its diagonal is added to the diagonal of A.

    He, Zhang, Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017.

    Raises QuantError (status 2) where no such channels are, and for shared weights and codewords.
    """
    small = copy.deepcopy(model).eval()
    whole = Removable.of(small, layers, x[:1].float())
    network = Removable(whole.channels, {}, whole.layers, whole.norms)
    for name, group in whole.groups.items():
        if len(group.producers) == len(group.readers) == 1 and not group.depthwise and not group.joined:
            reader = whole.layers[group.readers[0]]
            check_form(group.readers[0], reader, "the least squares of criterion lasso")
            if reader.weight[0].numel() <= LARGEST:
                network.groups[name] = group
    if not network.groups:
        raise QuantError(
            "no channels are read by exactly one layer of at most 2048 inputs: take criterion l1", status=2
        )
    original = copy.deepcopy(model).eval()
    problems = {name: _Problem.of(original, original, network, name, x[:frames], ridge) for name in network.groups}
    scores = {name: each.entries() for name, each in problems.items()}
    keep = choose_channels(
        network, lambda _, group: scores[group.name], fraction, granularity=granularity, savings=savings
    )
    chosen = {}
    for name in network.groups:
        problem = _Problem.of(small, original, network, name, x[:frames], ridge)
        chosen[name] = problem.select(len(keep[name]))
        latent = latent_of(network.layers[network.groups[name].readers[0]])
        with torch.no_grad():
            latent.copy_(problem.reconstruct(chosen[name]).view(latent.shape))
    return slim(small, {name: places.tolist() for name, places in chosen.items()}, frame=x[:1].float())


class _Problem:
    """The LASSO and the least squares of one layer, float64: A and C (d, d), the weights (out, d), columns (d,)."""

    def __init__(self, a: torch.Tensor, c: torch.Tensor, weight: torch.Tensor, channel: torch.Tensor, ridge: float):
        self.a = a + ridge * float(a.diagonal().mean() or 1.0) * torch.eye(len(a), dtype=a.dtype)
        self.c, self.weight, self.channel = c, weight, channel
        self.channels = int(channel.max()) + 1
        kernel = weight.T @ weight
        one_hot = torch.nn.functional.one_hot(channel, self.channels).to(a.dtype)
        self.gram = one_hot.T @ (self.a * kernel) @ one_hot
        self.target = one_hot.T @ (c * kernel).sum(1)

    @classmethod
    def of(cls, small: Any, original: Any, network: Removable, name: str, x: torch.Tensor, ridge: float) -> "_Problem":
        """Measures the inputs of the layer that reads the group ``name``, in both networks."""
        reader = network.groups[name].readers[0]
        [(_, part)] = network.channels.places(reader, network.groups[name])
        a, c = _moments(small, original, reader, x)
        layer = find_layers(original)[reader]
        weight = weight_of(layer).double().cpu()
        channel = torch.arange(weight.shape[1]) // part.positions
        channel = channel[:, None].expand(-1, weight[0, 0].numel()).flatten()
        return cls(a, c, weight.flatten(1), channel, ridge)

    def path(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the knots of the LASSO's path: lambda (knots,), descending, and beta (channels, knots)."""
        from sklearn.linear_model import lars_path_gram

        lambdas, _, betas = lars_path_gram(self.target.numpy(), self.gram.numpy(), n_samples=1, method="lasso")
        return torch.from_numpy(lambdas), torch.from_numpy(betas)

    def entries(self) -> torch.Tensor:
        """Returns the greatest lambda with which each channel is chosen (channels,); 0: with none."""
        lambdas, betas = self.path()
        later = torch.cat([lambdas[:1], lambdas[:-1]])  # a beta starts at the knot before the first where it is not 0
        return torch.where(betas != 0, later, 0.0).amax(1)

    def select(self, count: int) -> torch.Tensor:
        """Returns ``count`` channels: those of the path's least lambda with at most so many, in order.

        Where the path has fewer, those that would come next are added.
        """
        _, betas = self.path()
        numbers = (betas != 0).sum(0)
        knot = int(torch.nonzero(numbers <= count).max())
        among = betas[:, knot] != 0
        ranked = torch.argsort(among * 2.0 + self.entries() / (1 + self.entries().max()), descending=True, stable=True)
        return ranked[:count].sort().values

    def reconstruct(self, channels: torch.Tensor) -> torch.Tensor:
        """Returns the least-squares weights (out, d) with 0 for all other channels."""
        used = torch.isin(self.channel, channels)
        weight = torch.zeros_like(self.weight)
        weight[:, used] = torch.linalg.solve(self.a[used][:, used], self.c[used] @ self.weight.T).T
        return weight


@torch.no_grad()
def _moments(small: Any, original: Any, name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ``X^T X / n`` and ``X^T X0 / n`` (d, d) of a layer's inputs in the two networks."""
    rows: dict[int, torch.Tensor] = {}

    def note(which: int) -> Any:
        def hook(layer: Layer, inputs: tuple[torch.Tensor, ...]) -> None:
            rows[which] = input_rows(layer, getattr(inputs[0], "value", inputs[0]))[0].double().cpu()

        return hook

    models = (small, original)
    hooks = [find_layers(model)[name].register_forward_pre_hook(note(which)) for which, model in enumerate(models)]
    total, cross, count = torch.zeros(()), torch.zeros(()), 0
    try:
        with inputs_by_place(*models):
            for part in x.split(64):
                small(part.float())
                if small is not original:
                    original(part.float())
                total, cross, count = total + rows[0].T @ rows[0], cross + rows[0].T @ rows[1], count + len(rows[0])
    finally:
        for each in hooks:
            each.remove()
    return total / count, cross / count
