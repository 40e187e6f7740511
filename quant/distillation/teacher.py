"""The teacher: one trained network, or several whose mean is the teacher."""

import copy
import math
import os
from collections.abc import Sequence

import torch

from quant.distillation.losses import mean_logits
from quant.errors import QuantError
from quant.models.network import Network
from quant.training.checkpoint import load_checkpoint

__all__ = ["Teacher", "TeacherLike"]

TeacherLike = Network | str | os.PathLike[str]
"""A network, a run folder or a checkpoint."""


class Teacher:
    """Frozen, trained networks: maps inputs, in any layout of the same size, to their logits, without gradients.

    Several networks are an ensemble. Its logits are the logarithm of the mean of their soft-max outputs (Bucila,
    Caruana, Niculescu-Mizil, "Model compression", KDD 2006). ``networks`` are copies on the student's device.
    """

    def __init__(self, networks: TeacherLike | Sequence[TeacherLike], student: Network) -> None:
        """Raises QuantError (status 2) for no network, and for one whose number of inputs, input range or number of
        classes differs from the student's."""
        given = [networks] if isinstance(networks, Network | str | os.PathLike) else list(networks)
        if not given:
            raise QuantError("a teacher needs at least one network", status=2)
        self.networks = [self._frozen(network, student) for network in given]

    @staticmethod
    def _frozen(network: TeacherLike, student: Network) -> Network:
        if not isinstance(network, Network):
            network = load_checkpoint(network, "teacher")
        for what, own, wanted in (
            ("inputs", math.prod(network.input_shape), math.prod(student.input_shape)),
            ("an input range", tuple(network.in_range), tuple(student.in_range)),
            ("a normalization", network.normalizes, student.normalizes),
            ("classes", network.classes, student.classes),
        ):
            if own != wanted:
                raise QuantError(
                    f"the teacher {network.name} has {what} of {own}, {student.name} of {wanted}: train it on the "
                    "same data set",
                    status=2,
                )
        return copy.deepcopy(network).eval().requires_grad_(False)

    @property
    def names(self) -> list[str]:
        """The names of the networks."""
        return [network.name for network in self.networks]

    def to(self, device: torch.device) -> "Teacher":
        """Moves the networks; returns the teacher."""
        for network in self.networks:
            network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return mean_logits([network(x.reshape(len(x), *network.input_shape)) for network in self.networks])
