"""What a student learns from its teacher, as settings of a training.

Light to import: the command line and the run folders read it without torch.
"""

import math
from dataclasses import dataclass

from quant.errors import QuantError

__all__ = ["TERMS", "Distillation"]

TERMS: dict[str, float] = {
    "labels": 1.0,
    "soft": 1.0,
    "logits": 1.0,
    "hint": 1.0,
    "attention": 1000.0,
    "selectivity": 50.0,
    "neurons": 1.0,
    "contrastive": 0.8,
    "posterior": 1.0,
}
"""The terms of the loss by name, with their default weights (see ``Distillation``)."""
COMPARED = ("hint", "attention", "selectivity", "neurons", "contrastive")
"""The terms that compare layers."""


@dataclass(frozen=True)
class Distillation:
    """The loss of a training with a teacher: a sum of weighted terms, and how features are compared.

    >>> Distillation(("soft:0.9", "labels:0.1", "attention")).weights
    {'labels': 0.1, 'soft': 0.9, 'attention': 1000.0}

    ``terms`` are names, or ``name:weight``. "labels", the loss of a training without a teacher, has the weight 1 unless
    it is named.

    - "labels": the scheme's loss, of the data's labels.
    - "soft": ``T**2 KL`` of the soft-max at ``temperature`` (Hinton et al. 2015).
    - "logits": squared distance to the teacher's standardized logits (Ba, Caruana 2014).
    - "hint": squared distance of a middle layer's features to the teacher's, through a learned regressor. It is the
      only loss in the first ``hint_share`` of the epochs, but for those of early heads and of experts; after them, the
      weight of "soft" falls linearly from four times its value to its value (FitNets, Romero et al. 2015).
    - "attention": distance of the attention maps of every size of feature map (Zagoruyko, Komodakis 2017).
    - "selectivity": discrepancy of the channels' selectivity patterns, likewise (NST, Huang, Wang 2017).
    - "neurons": squared distance to the teacher's neurons that tell classes apart best, at the last hidden layer
      (Luo et al., "Face model compression by distilling knowledge from neurons", AAAI 2016).
    - "contrastive": each sample's embedding is found among those of others (Tian et al. 2020).
    - "posterior": the teacher is trained on by Langevin steps, samples of its posterior, and the student learns the
      soft-max of every sample (Bayesian dark knowledge, Korattikara et al. 2015).

    ``layers`` are pairs "STUDENT=TEACHER" of names of modules whose outputs "hint", "attention", "selectivity",
    "neurons" and "contrastive" compare. Without them, the outputs of BatchNorms and residual sums are compared, which
    1-bit networks have before their signs: those of the middle layer, of the last layer of each size of feature map,
    and of the last layer.

    ``pseudo`` is a number of unlabelled samples made for each training sample (``quant.distillation.pseudo_data``);
    their labels are the teacher's (Bucila, Caruana, Niculescu-Mizil, "Model compression", KDD 2006).

    Raises QuantError (status 2) for unknown terms, weights below 0 or all 0, a temperature that is not positive, a
    share that is not above 0 and below 1, a pair of another form or that no term compares, a temperature or a share
    that no term uses, terms without one of the teacher, and a negative number of samples.
    """

    terms: tuple[str, ...] = ("soft",)
    temperature: float = 4.0
    hint_share: float = 0.3
    layers: tuple[str, ...] = ()
    pseudo: int = 0

    def __post_init__(self) -> None:
        terms = (self.terms,) if isinstance(self.terms, str) else tuple(self.terms)
        pairs = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "layers", pairs)
        names = [term.partition(":")[0] for term in terms]
        for term, name in zip(terms, names, strict=True):
            if name not in TERMS or names.count(name) > 1:
                wrong = "named twice" if name in TERMS else "no term of a distillation"
                raise QuantError(f"{name!r} is {wrong}: choose from {', '.join(TERMS)}, each once", status=2)
            weight = self.weights[name]
            if not 0 <= weight < math.inf:
                raise QuantError(f"weight of {term!r} is not a number of 0 or more, as {name}:0.5", status=2)
        if not 0 < self.temperature < math.inf or not 0 < self.hint_share < 1:
            raise QuantError(
                f"temperature={self.temperature} (above 0) or hint_share={self.hint_share} (between 0 and 1) is out of "
                "its range",
                status=2,
            )
        for pair in pairs:
            student, _, teacher = pair.partition("=")
            if not student or not teacher:
                raise QuantError(f"{pair!r} is no pair of layers STUDENT=TEACHER, as hidden.1=hidden.2", status=2)
        counting = [name for name, weight in self.weights.items() if weight > 0]
        if not counting:
            raise QuantError("no term of the distillation counts, all weights are 0: give one a weight", status=2)
        if pairs and not set(counting) & set(COMPARED):
            raise QuantError(
                f"layers={', '.join(pairs)} have no use: of the terms only {', '.join(COMPARED)} compare layers",
                status=2,
            )
        if counting == ["labels"] and not self.pseudo:
            raise QuantError(
                "of the terms only labels count, which need no teacher: leave it out, or name a term of it, as soft",
                status=2,
            )
        for option, name in (("temperature", "soft"), ("hint_share", "hint")):
            if name not in counting and getattr(self, option) != getattr(type(self), option):
                raise QuantError(
                    f"{option}={getattr(self, option):g} has no use without the term {name}: name it, or leave "
                    f"{option} out",
                    status=2,
                )
        if self.pseudo < 0:
            raise QuantError(f"pseudo={self.pseudo} samples for each one must be 0 or more", status=2)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term that counts, in the order of ``TERMS``."""
        given = {"labels": TERMS["labels"]}
        for term in self.terms:
            name, _, text = term.partition(":")
            try:
                given[name] = float(text) if text else TERMS.get(name, math.nan)
            except ValueError:
                given[name] = math.nan
        return {name: given[name] for name in TERMS if name in given}
