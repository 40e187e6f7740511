"""Knowledge distillation: a network learns from the outputs of a trained network in addition to the labels."""

import copy
import math
import os

import torch
from torch.nn import functional

from quant.errors import QuantError
from quant.models.network import Network
from quant.training.checkpoint import checkpoint_file, load_checkpoint


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
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


class Teacher:
    """A frozen, trained network: maps inputs, in any layout of the same size, to its logits, without gradients."""

    def __init__(self, network: Network | str | os.PathLike[str], student: Network) -> None:
        """``network`` is a network, a run folder or a checkpoint.

        Raises QuantError (status 2) if its number of inputs, input range or number of classes differs from the
        student's.
        """
        if not isinstance(network, Network):
            network = load_checkpoint(checkpoint_file(network))
        for what, own, wanted in (
            ("inputs", math.prod(network.input_shape), math.prod(student.input_shape)),
            ("an input range", tuple(network.in_range), tuple(student.in_range)),
            ("classes", network.classes, student.classes),
        ):
            if own != wanted:
                raise QuantError(
                    f"the teacher {network.name} has {what} of {own}, {student.name} of {wanted}: train it on the "
                    "same data set",
                    status=2,
                )
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.reshape(len(x), *self.network.input_shape))
