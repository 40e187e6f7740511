"""The loss functions of distillation: a student's outputs or feature maps against those of its teacher.

Every function returns a scalar that is differentiable in the student's tensors.
"""

import math

import torch
from torch.nn import functional

__all__ = [
    "attention_transfer",
    "contrastive",
    "hint",
    "mimic",
    "neuron_selectivity",
    "soft_targets",
]


def soft_targets(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns ``T**2 * KL(softmax(teacher / T) || softmax(student / T))`` of logits (N, classes), averaged over N.

    The gradient decreases with ``1 / T**2``; the factor ``T**2`` makes its magnitude independent of T (Hinton, Vinyals,
    Dean, "Distilling the knowledge in a neural network", 2015).
    """
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def mimic(student: torch.Tensor, teacher: torch.Tensor, mean: float, deviation: float) -> torch.Tensor:
    """Returns ``||z_s - (z_t - mean) / deviation||**2 / 2`` of logits (N, classes), averaged over N.

    ``mean`` and ``deviation`` are those of the teacher's logits over the training set. They are one number each for all
    classes, so that the largest logit stays the largest. Ba, Caruana, "Do deep nets really need to be deep?", NIPS
    2014, equation 2.
    """
    return (student - (teacher - mean) / deviation).square().sum(1).mean() / 2


def hint(guided: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns ``sum (r(v_s) - u_t)**2 / 2`` of features (N, ...) of equal shape, averaged over N.

    ``guided`` is r(v_s): the student's features after a regressor that gives them the teacher's shape. Romero et al.,
    "FitNets: hints for thin deep nets", ICLR 2015, equation 3.
    """
    return (guided - teacher).square().flatten(1).sum(1).mean() / 2


def attention_map(features: torch.Tensor) -> torch.Tensor:
    """Returns (N, positions), of unit length: the mean over channels of the squares of ``features`` (N, C, ...)."""
    return functional.normalize(features.square().mean(1).flatten(1), dim=1)


def attention_transfer(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared difference of the attention maps of feature maps (N, C, ...) and (N, C', ...).

    The number of channels may differ, the positions may not. Zagoruyko, Komodakis, "Paying more attention to
    attention", ICLR 2017, with the mean over positions that the authors' code has.
    """
    return (attention_map(student) - attention_map(teacher)).square().mean()


def neuron_selectivity(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the squared maximum mean discrepancy of the channels' patterns, with the kernel ``k(a, b) = (a'b)**2``.

    Feature maps are (N, C, positions...) and (N, C', positions...). A channel's pattern is its activations over the
    positions, of unit length. The discrepancy is ``mean k(f_s, f_s') + mean k(f_t, f_t') - 2 mean k(f_s, f_t)`` over
    the channels of a sample, averaged over N. Huang, Wang, "Like what you like: knowledge distill via neuron
    selectivity transfer", 2017, equations 7 and 8.
    """
    a = functional.normalize(student.flatten(2), dim=2)
    b = functional.normalize(teacher.flatten(2), dim=2)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.transpose(1, 2)).square().mean((1, 2))

    return (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)).mean()


def contrastive(
    student: torch.Tensor, teacher: torch.Tensor, others: torch.Tensor, temperature: float = 0.07
) -> torch.Tensor:
    """Returns the cross entropy of finding each sample's teacher embedding among those of other samples.

    ``student`` and ``teacher`` are embeddings (N, D) of the same samples, ``others`` (M, D) the teacher's embeddings of
    earlier samples; all are scaled to unit length. The other samples of the batch are negatives as well. Tian,
    Krishnan, Isola, "Contrastive representation distillation", ICLR 2020, in the form of InfoNCE (van den Oord et al.,
    2018).
    """
    s, t, rest = (functional.normalize(x, dim=1) for x in (student, teacher, others))
    scores = torch.cat([s @ t.T, s @ rest.T], 1) / temperature
    return functional.cross_entropy(scores, torch.arange(len(s), device=s.device))


def soft_cross_entropy(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy of the student's soft-max to the teacher's, of logits (N, classes), averaged over N."""
    return functional.cross_entropy(student, functional.softmax(teacher, 1))


def mean_logits(logits: list[torch.Tensor]) -> torch.Tensor:
    """Returns the logarithm of the mean soft-max of several networks' logits (N, classes), the ensemble's logits."""
    if len(logits) == 1:
        return logits[0]
    return torch.logsumexp(torch.stack([functional.log_softmax(z, 1) for z in logits]), 0) - math.log(len(logits))
