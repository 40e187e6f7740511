"""The loss of a student with a teacher: the terms of a ``Distillation``, and what they need of both networks."""

from collections.abc import Sequence

import torch

from quant.distillation import losses
from quant.distillation.comparisons import Comparison, Contrast, Hint, Maps, Neurons, discriminating
from quant.distillation.features import Features, Pair, pairs_of_sizes, points
from quant.distillation.posterior import Posterior
from quant.distillation.settings import COMPARED, Distillation
from quant.distillation.teacher import Teacher
from quant.errors import QuantError
from quant.models.network import Network

__all__ = ["Guide"]

NEURONS = 0.5
"""Share of the teacher's last hidden neurons that a student learns."""
SAMPLES = 2000
"""Training samples by which neurons are chosen."""
_MAPS = {"attention": losses.attention_transfer, "selectivity": losses.neuron_selectivity}


class Guide(torch.nn.Module):
    """Returns the loss of a batch. Its parameters, those of comparisons, are trained with the student.

    From its creation to ``close`` it keeps feature maps of both networks.
    """

    def __init__(
        self,
        student: Network,
        teacher: Teacher,
        settings: Distillation,
        x: torch.Tensor,
        y: torch.Tensor,
        epochs: int,
    ) -> None:
        """``x`` (N, *input_shape) and ``y`` (N,) are the training set, on the device of both networks; ``epochs`` is
        the length of the training.

        Raises QuantError (status 2) for terms that these networks do not have.
        """
        super().__init__()
        self.settings, self.weights, self.epochs = settings, settings.weights, epochs
        self.teacher = teacher
        self.hint_epochs = max(1, round(epochs * settings.hint_share)) if self.wants("hint") else 0
        if self.hint_epochs >= epochs:
            raise QuantError(f"{epochs} epochs leave none after the hint: give more, or a smaller hint_share", status=2)
        compared = [term for term in COMPARED if self.wants(term)]
        single = [*compared, *(["posterior"] if self.wants("posterior") else [])]
        if single and len(teacher.networks) > 1:
            raise QuantError(
                f"{single[0]} needs one teacher, not {len(teacher.networks)}: an ensemble has only soft and logits",
                status=2,
            )
        self.posterior = None
        if self.wants("posterior"):
            if teacher.networks[0].scheme.quantizes:
                raise QuantError(
                    f"posterior needs a float teacher, and {teacher.networks[0].name} is quantized", status=2
                )
            self.posterior = Posterior(teacher.networks[0], len(x))
        if self.wants("logits"):
            with torch.no_grad():
                logits = torch.cat([teacher(part) for part in x.split(1000)])
            self.mean, self.deviation = float(logits.mean()), float(logits.std())
        self.comparisons = torch.nn.ModuleDict()
        self.maps: _FeatureMaps | None = None
        if compared:
            pairs = _pairs(compared, settings, points(student, x), points(teacher.networks[0], x))
            self.maps = _FeatureMaps(student, teacher, pairs)
            for term in compared:
                self.comparisons[term] = _comparison(term, self.maps, x, y).to(x.device)

    def wants(self, term: str) -> bool:
        """Whether a term counts."""
        return self.weights.get(term, 0.0) > 0

    def forward(
        self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor, labels: torch.Tensor, epoch: int
    ) -> torch.Tensor:
        """Returns the loss. ``logits`` (N, classes) are those of the student's last pass, which was of ``x``.

        ``labels`` is the loss of the labels ``y``; ``epoch`` counts from 0.
        """
        taught = self.teacher(x)
        if epoch < self.hint_epochs:
            # Processes that train together must find all parameters in the graph; these have gradients of 0.
            return self.weights["hint"] * self._compare("hint") + 0.0 * (self._unused() + logits.sum())
        total = self.weights["labels"] * labels + 0.0 * self._unused()
        if self.wants("soft"):
            soft = losses.soft_targets(logits, taught, self.settings.temperature)
            total = total + self.weights["soft"] * self._decay(epoch) * soft
        if self.wants("logits"):
            total = total + self.weights["logits"] * losses.mimic(logits, taught, self.mean, self.deviation)
        if self.posterior is not None:
            self.posterior.step(x, y)
            total = total + self.weights["posterior"] * losses.soft_cross_entropy(logits, self.posterior(x))
        for term in self.comparisons:
            if term != "hint":
                total = total + self.weights[term] * self._compare(term)
        return total

    def _decay(self, epoch: int) -> float:
        """The factor of the soft targets: 1, or from 4 to 1 in the epochs after the hint."""
        if not self.hint_epochs:
            return 1.0
        return 4.0 - 3.0 * (epoch - self.hint_epochs) / max(1, self.epochs - 1 - self.hint_epochs)

    def _compare(self, term: str) -> torch.Tensor:
        assert self.maps is not None
        return self.comparisons[term](self.maps.of(term))

    def _unused(self) -> torch.Tensor | float:
        return sum(parameter.sum() for parameter in self.comparisons.parameters())

    def close(self) -> None:
        """Ends the keeping of feature maps."""
        if self.maps is not None:
            self.maps.close()


class _FeatureMaps:
    """The feature maps of both networks that the terms compare."""

    def __init__(self, student: Network, teacher: Teacher, pairs: dict[str, list[Pair]]) -> None:
        self.pairs, self.networks = pairs, (student, teacher.networks[0])
        both = [pair for some in pairs.values() for pair in some]
        self.features = [Features(network, [pair[side] for pair in both]) for side, network in enumerate(self.networks)]

    def of(self, term: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Returns the maps of a term in the last pass of each network."""
        return [(self.features[0][a], self.features[1][b]) for a, b in self.pairs[term]]

    @torch.no_grad()
    def on(self, term: str, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Returns the maps of samples, in eval mode."""
        for network in self.networks:
            training = network.training
            network.eval()(x.reshape(len(x), *network.input_shape))
            network.train(training)
        return self.of(term)

    def close(self) -> None:
        for features in self.features:
            features.close()


def _pairs(
    terms: Sequence[str],
    settings: Distillation,
    student: dict[str, tuple[int, ...]],
    teacher: dict[str, tuple[int, ...]],
) -> dict[str, list[Pair]]:
    """Returns the pairs of modules that each term compares."""
    given: list[Pair] = [(pair.partition("=")[0], pair.partition("=")[2]) for pair in settings.layers]
    found: dict[str, list[Pair]] = {}
    for term in terms:
        if term in _MAPS:
            found[term] = given or pairs_of_sizes(student, teacher)
            continue
        if len(given) > 1:
            raise QuantError(f"{term} compares one pair of layers, not {len(given)}", status=2)
        middle = term == "hint"
        a, b = (list(each)[(len(each) - 1) // 2 if middle else -1] for each in (student, teacher))
        found[term] = given or [(a, b)]
    return found


def _comparison(term: str, maps: _FeatureMaps, x: torch.Tensor, y: torch.Tensor) -> Comparison:
    examples = maps.on(term, x[:2])
    student, teacher = examples[0]
    if term in _MAPS:
        for (a, b), (u, v) in zip(maps.pairs[term], examples, strict=True):
            if u.dim() < 3 or u.shape[2:] != v.shape[2:]:
                raise QuantError(
                    f"{term} compares feature maps of equal size, and {a} has {_size(u)}, {b} {_size(v)}: name other "
                    "layers, or take hint",
                    status=2,
                )
        return Maps(_MAPS[term])
    if term == "hint":
        return Hint(student, teacher)
    if term == "neurons":
        parts = [maps.on(term, part)[0][1].flatten(1) for part in x[:SAMPLES].split(500)]
        return Neurons(student, discriminating(torch.cat(parts), y[:SAMPLES], NEURONS))
    return Contrast(student, teacher)


def _size(x: torch.Tensor) -> str:
    return " x ".join(map(str, x.shape[2:])) or "one position"
