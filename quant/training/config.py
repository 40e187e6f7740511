"""The settings of a training: everything besides the network and the data that determines its result.

Light to import: the command line and the run folders read it without torch.
"""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from quant.distillation.settings import Distillation
from quant.errors import QuantError
from quant.structure import structure as read_structure
from quant.ties import ties as read_ties
from quant.training.exit_settings import Exits
from quant.training.width_search import WidthSearch

__all__ = [
    "Augmentation",
    "Bias",
    "ChannelPenalty",
    "Criterion",
    "Exits",
    "Log",
    "Loss",
    "Pruning",
    "Slimming",
    "TrainConfig",
    "TrainerOptions",
    "Tying",
]

Loss = Literal["cross_entropy", "squared_hinge", "mse", "huber"]
"""Loss functions by name: of classes (``quant.training.lightning_module.LOSSES``), and of the numbers of a regression
or reconstruction (``quant.training.objective.NUMBER_LOSSES``)."""

Augmentation = Literal["shift", "flip-crop"]
"""Random changes of training images by name (see ``quant.training.batches.AUGMENTATIONS``)."""


Log = Literal["csv", "tensorboard"]
"""Loggers of Lightning by name."""

CENTROID_RATE = (1e-3, 1e-5)
"""First and last learning rate of shared values, each of which collects the gradients of many weights."""

Criterion = Literal["size", "lut", "cycles", "rom_bits"]
"""What pruned weights are to save: weights, or a part of the hardware's cost (``quant.LayerCost``)."""


Bias = Literal["hyperbolic", "exponential"]
"""Biased weight decays by name (see ``quant.compression.BIASES``)."""


@dataclass(frozen=True)
class Pruning:
    """Gradual pruning during a training: the weights of smallest magnitude are set to zero, more and more of them.

    After step t of T, ``fraction * (1 - (1 - t / T)**3)`` of the weights is zero. Step 0 is at the share ``begin`` of
    the training and step T at the share ``end``; the remaining weights are trained until its end.

    - ``fraction``: of the weights that are zero at the end, from 0 to below 1. None: 0.5, or what an N:M structure
      states.
    - ``layers``: patterns of names of the layers to prune. None: all.
    - ``structure``: which weights become zero together (``quant.structure``), as "2:4" or "bank-balanced:4x8".
    - ``jointly``: the weights of all layers are ranked together, instead of ``fraction`` of each layer.
    - ``by``: what the pruned weights are to save. "size": nothing else matters. "lut", "cycles", "rom_bits": the layers
      are ranked together by magnitude, relative to the layer's mean, over what a weight of the layer saves; this
      needs a cost model (``quant.fit``).
    - ``begin``, ``end``: shares of the training's steps, from 0 to 1.
    - ``every``: steps between two prunings. None: a hundredth of the steps from begin to end.
    - ``lasso``: strength of a group lasso over what ``structure`` prunes together, from the first step to ``end``.
      After each step the Euclidean norms of the groups shrink by ``learning rate * lasso``, and groups are removed at
      0. They count towards ``fraction``, which may be 0.
    - ``decay``: a biased weight decay from the first step to ``end``: ``decay_rate * sum B(w)`` is added to the loss,
      with B(w) = |w| / (1 + c |w|) ("hyperbolic") or (1 - exp(-c |w|)) / c ("exponential"), c = ``decay_curve``. It
      drives small weights to zero, where they are pruned, and hardly changes large ones (Hanson, Pratt, "Comparing
      biases for minimal network construction with back-propagation", NIPS 1988).

    Zhu, Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017, equation 1
    with an initial sparsity of 0.

    Raises QuantError (status 2) for values out of range.
    """

    fraction: float | None = None
    layers: tuple[str, ...] | None = None
    structure: str = "unstructured"
    jointly: bool = False
    by: Criterion = "size"
    begin: float = 0.1
    end: float = 0.6
    every: int | None = None
    lasso: float = 0.0
    decay: Bias | None = None
    decay_rate: float = 1e-4
    decay_curve: float = 10.0

    def __post_init__(self) -> None:
        kind = read_structure(self.structure)
        object.__setattr__(self, "structure", str(kind))
        if self.layers is not None:
            patterns = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
            object.__setattr__(self, "layers", patterns)
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise QuantError(f"pruning fraction={self.fraction} is not from 0 to below 1", status=2)
        kind.check_fraction(self.fraction)
        if None not in (self.fraction, kind.fraction):
            object.__setattr__(self, "fraction", kind.fraction)
        if kind.fraction is not None and (self.jointly or self.by != "size"):
            raise QuantError(f"structure {kind} prunes all layers alike: take jointly=False and by='size'", status=2)
        if self.by not in get_args(Criterion):
            raise QuantError(f"no criterion {self.by!r}: choose {', '.join(get_args(Criterion))}", status=2)
        if not 0 <= self.begin < self.end <= 1:
            raise QuantError(f"begin={self.begin} and end={self.end} are not 0 <= begin < end <= 1", status=2)
        if self.every is not None and self.every < 1:
            raise QuantError(f"every={self.every} steps is not at least 1", status=2)
        if not 0 <= self.lasso < math.inf or (self.lasso and kind.fraction is not None):
            raise QuantError(
                f"lasso={self.lasso} must be a number from 0, and structure {kind} has groups for it unless it is N:M",
                status=2,
            )
        if self.decay is not None and self.decay not in get_args(Bias):
            raise QuantError(f"no weight decay {self.decay!r}: choose {' or '.join(get_args(Bias))}", status=2)
        if not 0 < self.decay_rate < math.inf or not 0 < self.decay_curve < math.inf:
            raise QuantError(
                f"decay_rate={self.decay_rate} and decay_curve={self.decay_curve} must be above 0", status=2
            )

    @property
    def target(self) -> float:
        """The fraction of zeros at the end."""
        stated = read_structure(self.structure).fraction
        return stated if stated is not None else 0.5 if self.fraction is None else self.fraction


ChannelPenalty = Literal["slimming", "structured", "less-is-more", "neurons"]
"""Penalties on channels by name (see ``Slimming``)."""


@dataclass(frozen=True)
class Slimming:
    """A penalty that makes channels of convolutions and neurons superfluous, so that they can be removed afterwards.

    ``bitfabric compress --method slim`` removes them, by the criterion of the penalty's name.

    - ``penalty``: "slimming": ``strength * sum |gamma|`` of BatchNorm is added to the loss (Liu et al., "Learning
      efficient convolutional networks through network slimming", ICCV 2017). The others are proximal steps after each
      step of the optimizer: "less-is-more": ``strength * sum_n ||W_n||`` over filters (Zhou et al., ECCV 2016);
      "structured": the same over filters, and over the weights that read a channel (Wen et al., NIPS 2016);
      "neurons": ``strength * ((1 - mixture) sqrt(P) ||W_n|| + mixture ||W_n||_1)`` over neurons of P weights (Alvarez,
      Salzmann, NIPS 2016).
    - ``strength``: None: 0.001 for "slimming" (the authors have 1e-4 in long trainings), 0.02 for "neurons", else 0.1.
    - ``mixture``: of "neurons", from 0 to 1.
    - ``by``: "size": all channels have the same strength. "lut", "cycles", "rom_bits": it is proportional to what a
      channel less saves, with ``strength`` as its mean; this needs a cost model (``quant.fit``).
    - ``layers``: patterns of names of the layers whose channels are meant. None: all.

    Raises QuantError (status 2) for values out of range.
    """

    penalty: ChannelPenalty = "slimming"
    strength: float | None = None
    mixture: float = 0.5
    by: Criterion = "size"
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            patterns = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
            object.__setattr__(self, "layers", patterns)
        if self.penalty not in get_args(ChannelPenalty):
            raise QuantError(f"no penalty {self.penalty!r}: choose {', '.join(get_args(ChannelPenalty))}", status=2)
        if self.by not in get_args(Criterion):
            raise QuantError(f"no criterion {self.by!r}: choose {', '.join(get_args(Criterion))}", status=2)
        if (self.strength is not None and not 0 < self.strength < math.inf) or not 0 <= self.mixture <= 1:
            raise QuantError(
                f"strength={self.strength} of the penalty must be above 0, and mixture={self.mixture} from 0 to 1",
                status=2,
            )


@dataclass(frozen=True)
class Tying:
    """Tied weights of a new network: ``quant.compression.tie``, with values that start as the scheme's weights do.

    - ``structure``: which weights are one value (``quant.ties``), as "circulant:8" or "hashed:8:4x4".
    - ``layers``: patterns of names of the layers. None: all in which the structure ties weights, but the last one.

    Raises QuantError (status 2) for an unknown structure.
    """

    structure: str = "circulant:8"
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "structure", str(read_ties(self.structure)))
        if self.layers is not None:
            patterns = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
            object.__setattr__(self, "layers", patterns)


@dataclass(frozen=True)
class TrainerOptions:
    """Where a training runs: the options of ``lightning.Trainer`` of the same names; None leaves the default.

    The defaults are one GPU where there is one, else the CPU. ``TrainerOptions(devices=4, num_nodes=2,
    strategy="ddp")`` trains on eight devices: every process runs the script, computes its share of each batch, and
    returns the same result. Lightning checks the values when the training starts.
    """

    accelerator: str | None = None
    devices: int | str | tuple[int, ...] | None = None
    strategy: str | None = None
    num_nodes: int | None = None

    def chosen(self) -> dict[str, int | str | list[int]]:
        """The options that are not None, as arguments of ``lightning.Trainer``."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of ``quant.fit`` and ``quant.train_run``; a frozen dataclass, checked when it is created.

    >>> TrainConfig(epochs=30, learning_rate=(3e-3, 3e-6), validation=0.1, patience=5).batch_size
    100

    - ``epochs``: passes over the training set, at least 1.
    - ``seed``: random seed for the order of the data, the scheme's random numbers, the validation part, and the test
      set of data that have none of their own.
    - ``batch_size``: samples per step over all devices, at least 2.
    - ``learning_rate``: first and last rate of a half cosine, which decreases from epoch to epoch; or only the first,
      and the last is the same part of it as the scheme's. None: the scheme's.
    - ``loss``: "cross_entropy" or "squared_hinge" (``quant.training.lightning_module.squared_hinge``) of classes,
      "mse" or "huber" of numbers, in parts of their deviation. None: the scheme's, or "mse".
    - ``label_smoothing``: of the cross entropy, from 0 to below 1 (Szegedy et al., "Rethinking the Inception
      architecture for computer vision", CVPR 2016, section 7).
    - ``class_weights``: of the loss, one for each class; "balanced": in inverse ratio to the number of its samples, so
      that all classes weigh the same. None: every sample weighs the same.
    - ``augment``: random changes of training images. "shift" shifts them by up to a sixteenth of their sides;
      "flip-crop" mirrors half of them and shifts all by up to an eighth. None: no changes.
    - ``validation``: fraction of the training set, from 0 to below 1, that is held out. The parameters of the epoch
      with the best accuracy on it are kept. With 0 the whole training set is used and the last epoch is kept.
    - ``patience``: number of epochs without a better validation accuracy after which the training ends. None: it never
      ends early.
    - ``distill``: what is learned from a teacher (``quant.distillation.Distillation``), which it needs.
    - ``exits``: how a network with early exits is trained, and how its thresholds are chosen (``quant.Exits``).
    - ``prune``: gradual pruning (``quant.Pruning``). None: no weight is pruned.
    - ``slimming``: a penalty on channels (``quant.Slimming``). None: there is none.
    - ``tie``: tied weights of a new network (``quant.Tying``). None: weights are tied only where the network's are.
    - ``widths``: widths that are learned first (``quant.WidthSearch``, ``quant.learn_widths``). None: as they are.
    - ``trainer``: where the training runs.
    - ``log``: writes the figures of each epoch in Lightning's format, "csv" or "tensorboard". None: no log.
    - ``split_seed``: draws the test set in place of ``seed``, so that trainings with several seeds share one. None:
      ``seed`` does.

    Raises QuantError (status 2):

    - ``epochs``, ``batch_size`` or ``validation`` out of range;
    - ``learning_rate`` is not one or two finite numbers, the first positive and the last not negative;
    - ``class_weights`` that are not positive;
    - unknown ``loss``; ``label_smoothing`` out of range or with another loss than the cross entropy;
    - ``patience`` below 1 or without a validation part;
    - unknown ``augment``.

    ``fit`` checks what depends on the network or on the data.
    """

    epochs: int = 100
    seed: int = 0
    batch_size: int = 100
    learning_rate: float | tuple[float, float] | None = None
    loss: Loss | None = None
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    augment: Augmentation | None = None
    validation: float = 0.0
    patience: int | None = None
    distill: Distillation = field(default_factory=Distillation)
    exits: Exits = field(default_factory=Exits)
    prune: Pruning | None = None
    slimming: Slimming | None = None
    tie: Tying | None = None
    widths: WidthSearch | None = None
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    log: Log | None = None
    split_seed: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 <= self.validation < 1:
            raise QuantError(
                f"epochs={self.epochs} (at least 1), batch_size={self.batch_size} (at least 2) or "
                f"validation={self.validation} (from 0 to below 1) is out of its range",
                status=2,
            )
        if self.learning_rate is not None:
            given = self.learning_rate
            pair = (given, given) if isinstance(given, int | float) else tuple(given)
            if len(pair) != 2 or not all(map(math.isfinite, pair)) or pair[0] <= 0 or pair[1] < 0:
                raise QuantError(
                    f"learning_rate={given} is not a positive first and a last rate, as (1e-2, 1e-4)", status=2
                )
            object.__setattr__(self, "learning_rate", given if isinstance(given, int | float) else pair)
        if self.class_weights is not None and self.class_weights != "balanced":
            weights = () if isinstance(self.class_weights, str) else tuple(self.class_weights)
            if not weights or not all(math.isfinite(weight) and weight > 0 for weight in weights):
                raise QuantError(
                    f"class_weights={self.class_weights} are not 'balanced' or a positive number for each class",
                    status=2,
                )
            object.__setattr__(self, "class_weights", weights)
        if self.log is not None and self.log not in get_args(Log):
            raise QuantError(f"no log {self.log!r}: choose {' or '.join(get_args(Log))}", status=2)
        if self.loss is not None and self.loss not in get_args(Loss):
            raise QuantError(f"no loss {self.loss!r}: choose {' or '.join(get_args(Loss))}", status=2)
        check_label_smoothing(self.label_smoothing, self.loss or "cross_entropy")
        if self.patience is not None and (self.patience < 1 or not self.validation):
            raise QuantError(
                f"patience={self.patience} must be at least 1 and needs a validation part, as validation=0.1", status=2
            )
        check_augmentation(self.augment)

    @property
    def drawn_by(self) -> int:
        """The seed that draws the test set of data that have none."""
        return self.seed if self.split_seed is None else self.split_seed

    def phases(self) -> tuple["TrainConfig", "TrainConfig"]:
        """The settings of the epochs that learn ``widths``, and those of the rest of the training.

        Raises QuantError (status 2) for fewer than two epochs.
        """
        assert self.widths is not None, "phases are those of a training that learns widths"
        first = self.widths.epochs(self.epochs)
        plain = replace(self, prune=None, slimming=None, tie=None, patience=None, log=None, widths=None, epochs=first)
        return plain, replace(self, widths=None, epochs=self.epochs - first)

    def rates(self, scheme: tuple[float, float]) -> tuple[float, float]:
        """The first and the last learning rate, given those of the scheme."""
        if self.learning_rate is None:
            return scheme
        if isinstance(self.learning_rate, tuple):
            return self.learning_rate
        return self.learning_rate, self.learning_rate * scheme[1] / scheme[0]

    def to_dict(self) -> dict[str, Any]:
        """The settings as values of JSON and YAML."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "TrainConfig":
        """The settings from ``to_dict``'s values; what is left out has its default.

        Raises QuantError (status 2) for settings that do not exist and for values out of range.
        """
        made: TrainConfig = _made(cls, content, "training")
        return made


_PARTS: dict[str, Any] = {
    "prune": Pruning,
    "slimming": Slimming,
    "tie": Tying,
    "widths": WidthSearch,
    "trainer": TrainerOptions,
    "distill": Distillation,
    "exits": Exits,
}


def _made(kind: Any, content: Any, place: str) -> Any:
    """A dataclass of settings from a mapping, with tuples for lists."""
    if not isinstance(content, Mapping):
        raise QuantError(f"{place}={content!r} is no mapping of settings to values", status=2)
    known = [each.name for each in fields(kind)]
    values = {}
    for name, value in content.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise QuantError(f"{place} has no setting {name!r}: {hint}", status=2)
        part = _PARTS.get(name) if kind is TrainConfig else None
        if part is not None and value is not None:
            value = _made(part, value, f"{place}.{name}")
        values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise QuantError(f"{place} has a value of another type: {error}", status=2) from error


def check_augmentation(augment: str | None, data: str = "", shape: tuple[int, ...] | None = None) -> None:
    """Raises QuantError (status 2) for an unknown augmentation, and for one of data whose samples of ``shape`` are no
    images."""
    if augment is None:
        return
    if augment not in get_args(Augmentation):
        raise QuantError(f"no augmentation {augment!r}: choose {' or '.join(get_args(Augmentation))}", status=2)
    if shape is not None and len(shape) != 3:
        raise QuantError(f"augment={augment!r} is for images, but {data} has inputs of shape {shape}", status=2)


def check_label_smoothing(label_smoothing: float, loss: str) -> None:
    """Raises QuantError (status 2) for a value out of range, or for a loss that has no label smoothing."""
    if not 0 <= label_smoothing < 1 or (label_smoothing and loss != "cross_entropy"):
        raise QuantError(
            f"label_smoothing={label_smoothing} must be from 0 to below 1, and only cross_entropy has it", status=2
        )
