"""Soft weight sharing: a mixture of Gaussians as the prior of the weights, and the merging of its components."""

import math
from collections.abc import Mapping, Sequence

import torch

from quant.compression.forms import Pruned, Shared
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    attach,
    check_form,
    compressing,
    compression_of,
    latent_of,
    own_grid,
)
from quant.errors import QuantError

ZERO_PRIOR = (5e3, 2.0)
"""Shape and rate of the gamma prior of the precision of the component at 0."""
OTHERS_PRIOR = (250.0, 0.1)
"""Shape and rate of the gamma prior of the precisions of the other components."""


class Mixture(torch.nn.Module):
    """The prior ``p(w) = sum_k pi_k N(w; mu_k, s_k)`` of weights; component 0 has ``mu = 0`` and a fixed ``pi``.

    Trainable: ``means`` (K - 1,), ``log_precisions`` (K,), which are ``-2 log s``, and ``log_proportions`` (K - 1,),
    whose soft-max times ``1 - zero`` are the other proportions. The precisions have gamma priors (``ZERO_PRIOR``,
    ``OTHERS_PRIOR``).

    - ``components``: K, with the one at 0.
    - ``zero``: the proportion of component 0.
    - ``reach``: the initial means are spaced evenly from ``-reach`` to ``reach``.
    - ``deviation``: the initial s.

    Raises QuantError (status 2) for values out of range.
    """

    def __init__(self, components: int = 16, zero: float = 0.99, reach: float = 0.6, deviation: float = 0.25) -> None:
        super().__init__()
        if isinstance(components, bool) or not isinstance(components, int) or not 2 <= components <= 256:
            raise QuantError(f"components={components!r} is no whole number from 2 to 256", status=2)
        if not 0 < zero < 1:
            raise QuantError(f"zero={zero!r} is not between 0 and 1", status=2)
        for what, value in (("reach", reach), ("deviation", deviation)):
            if not 0 < value < math.inf:
                raise QuantError(f"{what}={value!r} is no positive number", status=2)
        self.zero = zero
        self.means = torch.nn.Parameter(torch.linspace(-reach, reach, components - 1))
        self.log_precisions = torch.nn.Parameter(torch.full((components,), -2 * math.log(deviation)))
        self.log_proportions = torch.nn.Parameter(torch.zeros(components - 1))

    def components(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns mu, the precisions ``1 / s**2`` and log pi of all components, (K,) each."""
        means = torch.cat([self.means.new_zeros(1), self.means])
        others = torch.log_softmax(self.log_proportions, 0) + math.log1p(-self.zero)
        return means, self.log_precisions.exp(), torch.cat([others.new_tensor([math.log(self.zero)]), others])

    def joint(self, weights: torch.Tensor) -> torch.Tensor:
        """Returns ``log(pi_k N(w_n; mu_k, s_k))`` for weights (N,): (N, K)."""
        means, precisions, log_proportions = self.components()
        # -(w - mu)**2 / (2 s**2) as a polynomial in w: one product of matrices instead of passes over N x K elements
        constant = log_proportions + 0.5 * (self.log_precisions - math.log(2 * math.pi) - precisions * means**2)
        powers = torch.stack([weights, weights**2], 1)
        return torch.addmm(constant, powers, torch.stack([precisions * means, -0.5 * precisions]))

    def penalty(self, weights: torch.Tensor) -> torch.Tensor:
        """Returns ``-sum_n log p(w_n)`` minus the logarithms of the gamma priors, without their constants.

        Its gradient is ``sum_k r_nk (w_n - mu_k) / s_k**2`` to w_n, where ``r_nk = pi_k N(w_n; mu_k, s_k) / p(w_n)``.
        """
        shape, rate = (self.log_precisions.new_tensor(pair) for pair in zip(ZERO_PRIOR, OTHERS_PRIOR, strict=True))
        which = (torch.arange(len(self.log_precisions), device=self.log_precisions.device) > 0).long()
        precisions = self.log_precisions.exp()
        hyper = (rate[which] * precisions - (shape[which] - 1) * self.log_precisions).sum()
        return hyper - torch.logsumexp(self.joint(weights), 1).sum()

    @torch.no_grad()
    def merged(self, least: float = 1e-10) -> "Mixture":
        """Returns a mixture in which components i and j with ``KL(N_i || N_j)`` below ``least`` are one.

        Its proportion is the sum, its mean and precision are the means weighted by the proportions. What merges with
        component 0 keeps the mean 0.
        """
        means, precisions, logs = (part.double() for part in self.components())
        shares = logs.exp()
        while len(means) > 2:
            ratio = precisions[:, None] / precisions
            distance = 0.5 * (torch.log(ratio) + 1 / ratio + precisions * (means[:, None] - means) ** 2 - 1)
            distance.fill_diagonal_(torch.inf)
            i, j = sorted(divmod(int(distance.argmin()), len(means)))
            if not distance.min() < least:
                break
            both = shares[i] + shares[j]
            for values in (means, precisions):
                values[i] = (shares[i] * values[i] + shares[j] * values[j]) / both
            shares[i], means[0] = both, 0.0
            left = torch.arange(len(means)) != j
            means, precisions, shares = means[left], precisions[left], shares[left]
        result = Mixture(len(means), min(float(shares[0]), 1 - 1e-9))
        for parameter, values in (
            (result.means, means[1:]),
            (result.log_precisions, precisions.log()),
            (result.log_proportions, shares[1:].log()),
        ):
            parameter.copy_(values)
        return result.to(self.means.device)


def free_weights(layers: Mapping[str, Layer]) -> list[tuple[torch.nn.Parameter, torch.Tensor | None]]:
    """Returns the latent weights of the layers, each with the mask of those that are not pruned (None: all).

    Raises QuantError (status 2) for a layer with shared or tied weights or codewords.
    """
    found: list[tuple[torch.nn.Parameter, torch.Tensor | None]] = []
    for name, layer in layers.items():
        check_form(name, layer, "soft weight sharing", Pruned)
        form = compression_of(layer)
        assert isinstance(form, Pruned | None)
        found.append((latent_of(layer), None if form is None else form.mask))
    return found


def joined(weights: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> torch.Tensor:
    """Returns all weights that are not pruned, (N,)."""
    return torch.cat([latent.flatten() if mask is None else latent[mask] for latent, mask in weights])


def share_by_mixture(model: Model, mixture: Mixture, *, layers: Layers = None) -> Model:
    """Returns a copy of ``model`` whose weights are the means of the components of ``mixture`` that explain them best.

    Components that are nearly equal are merged first (``Mixture.merged``). A weight becomes the mean of its most
    responsible component; component 0 is 0, and its weights are pruned. The means that are used are one codebook of
    all layers, and stay trainable (see ``share_weights``); in a layer with quantized weights they are rounded to the
    layer's integers.

    Raises QuantError (status 2) where every weight of a layer would be 0.
    """
    few = mixture.merged().double()
    with compressing(model, layers) as (small, chosen), torch.no_grad():
        choices = {}
        for name, (latent, mask) in zip(chosen, free_weights(chosen), strict=True):
            index = few.joint(latent.flatten().double()).argmax(1).view(latent.shape)
            choices[name] = index if mask is None else index * mask
        used = torch.unique(torch.cat([index.flatten() for index in choices.values()]))
        used = used[used > 0]
        place = torch.full((len(few.log_precisions),), len(used), device=used.device)  # of what is pruned
        place[used] = torch.arange(len(used), device=used.device)
        centroids = torch.nn.Parameter(few.means[used - 1].float())
        for name, layer in chosen.items():
            if not bool((choices[name] > 0).any()):
                raise QuantError(
                    f"soft weight sharing has set every weight of layer {name} to 0: train the mixture for longer "
                    "(prior_epochs), begin with a smaller deviation or zero, lower tau, or choose other layers",
                    status=2,
                )
            attach(layer, Shared(centroids, place[choices[name]]), own_grid(layer))
    return small
