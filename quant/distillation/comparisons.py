"""Terms of a loss that compare feature maps of student and teacher; some learn how the student's are to be read."""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from quant.distillation import losses
from quant.errors import QuantError

__all__ = ["Comparison", "Contrast", "Hint", "Maps", "Neurons", "discriminating"]

FeaturePair = tuple[torch.Tensor, torch.Tensor]
"""Feature maps (N, C, ...) of the student and of the teacher."""


class Comparison(torch.nn.Module):
    """Returns a loss from pairs of feature maps. Its parameters are trained with the student."""

    def forward(self, maps: Sequence[FeaturePair]) -> torch.Tensor:
        """Returns a scalar."""
        raise NotImplementedError


class Hint(Comparison):
    """``losses.hint`` of one pair, after a regressor with the teacher's shape.

    It is a 1 x 1 convolution between maps of equal size, else a linear layer between all elements.
    """

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor) -> None:
        """``student`` and ``teacher`` are examples of the maps."""
        super().__init__()
        self.pointwise = student.dim() > 2 and student.shape[2:] == teacher.shape[2:]
        self.regressor: torch.nn.Module
        if self.pointwise:
            kind = torch.nn.Conv1d if student.dim() == 3 else torch.nn.Conv2d
            self.regressor = kind(student.shape[1], teacher.shape[1], 1)
        else:
            self.regressor = torch.nn.Linear(student[0].numel(), teacher[0].numel())

    def forward(self, maps: Sequence[FeaturePair]) -> torch.Tensor:
        ((student, teacher),) = maps
        guided = self.regressor(student if self.pointwise else student.flatten(1))
        return losses.hint(guided.view(teacher.shape), teacher)


class Maps(Comparison):
    """The sum of a function of maps of equal size over all pairs: attention or selectivity."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Sequence[FeaturePair]) -> torch.Tensor:
        return torch.stack([self.function(student, teacher) for student, teacher in maps]).sum()


class Neurons(Comparison):
    """Mean squared difference of the teacher's chosen neurons from a linear function of the student's features."""

    chosen: torch.Tensor

    def __init__(self, student: torch.Tensor, chosen: torch.Tensor) -> None:
        """``student`` is an example of the map; ``chosen`` are places among the teacher's elements."""
        super().__init__()
        self.register_buffer("chosen", chosen)
        self.regressor = torch.nn.Linear(student[0].numel(), len(chosen))

    def forward(self, maps: Sequence[FeaturePair]) -> torch.Tensor:
        ((student, teacher),) = maps
        return functional.mse_loss(self.regressor(student.flatten(1)), teacher.flatten(1)[:, self.chosen])


class Contrast(Comparison):
    """``losses.contrastive`` of linear embeddings; the negatives are the last ``others`` embeddings of the teacher.

    The authors keep an embedding of every training sample instead.
    """

    others: torch.Tensor

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor, width: int = 128, others: int = 4096) -> None:
        """``student`` and ``teacher`` are examples of the maps."""
        super().__init__()
        self.student = torch.nn.Linear(student[0].numel(), width)
        self.teacher = torch.nn.Linear(teacher[0].numel(), width)
        self.register_buffer("others", functional.normalize(torch.randn(others, width), dim=1))

    def forward(self, maps: Sequence[FeaturePair]) -> torch.Tensor:
        ((student, teacher),) = maps
        s, t = self.student(student.flatten(1)), self.teacher(teacher.flatten(1))
        loss = losses.contrastive(s, t, self.others)
        with torch.no_grad():
            self.others.copy_(torch.cat([functional.normalize(t, dim=1), self.others])[: len(self.others)])
        return loss


@torch.no_grad()
def discriminating(features: torch.Tensor, labels: torch.Tensor, share: float, alike: float = 0.9) -> torch.Tensor:
    """Returns the places of the features (N, F) that tell the classes of ``labels`` (N,) apart best.

    Features are ranked by the variance of their class means over the mean variance within classes. One whose
    correlation with a better one exceeds ``alike`` is left out. At most ``share`` of them are returned, at least one.
    Luo et al., "Face model compression by distilling knowledge from neurons", AAAI 2016: neurons are chosen by how well
    they tell attributes apart and how little they depend on each other.

    Raises QuantError (status 2) where the samples have one class only.
    """
    classes = labels.unique()
    if len(classes) < 2:
        raise QuantError(
            "neurons cannot be chosen by samples of one class: give training data of two or more", status=2
        )
    means = torch.stack([features[labels == c].mean(0) for c in classes])
    within = torch.stack([features[labels == c].var(0, unbiased=False) for c in classes]).mean(0)
    ratio = means.var(0, unbiased=False) / (within + 1e-12)
    centred = functional.normalize(features - features.mean(0), dim=0)
    chosen: list[int] = []
    for place in ratio.argsort(descending=True).tolist():
        if len(chosen) >= max(1, round(share * features.shape[1])):
            break
        if not chosen or float((centred[:, chosen].T @ centred[:, place]).abs().max()) <= alike:
            chosen.append(place)
    return torch.tensor(sorted(chosen), device=features.device)
