"""The methods of ``bitfabric compress``: each is an entry of ``METHODS``.

Light to import: the methods themselves (``quant.compression``) are imported when one runs.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quant.errors import QuantError
from quant.training.config import CENTROID_RATE, TrainConfig

if TYPE_CHECKING:
    import torch

    from quant.cost import CostModel
    from quant.data import DataSet
    from quant.models.network import Network


@dataclass(frozen=True)
class Task:
    """What a method works on: a trained network in eval mode, its data, and the settings.

    ``fraction`` is what becomes 0 (None for methods without a density), ``options`` are all of the method's options,
    ``layers`` patterns of names (None: all), ``savings`` what a weight less saves in each layer (None: it does not
    matter). ``config`` has the settings of trainings that are part of the method,
    which keep their state in the folder ``checkpoint``.
    """

    model: "Network"
    data: "DataSet"
    fraction: float | None
    options: Mapping[str, Any]
    layers: tuple[str, ...] | None
    savings: Mapping[str, float] | None
    config: TrainConfig
    teachers: Sequence[str] | None
    checkpoint: Path
    resume: bool
    progress: bool | None

    def frames(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """The training samples (N, *input_shape) and labels (N,)."""
        import torch

        from quant.models.network import model_inputs

        return torch.from_numpy(model_inputs(self.model, self.data.x_train)), torch.tensor(self.data.y_train)


Savings = Callable[["Network", "CostModel", float, Mapping[str, Any], Sequence[str] | None], dict[str, float]]
"""What less of it saves in each layer: (network, cost, fraction, options, layers) -> by name."""


_NO_ZERO = "which have no zero: train a network of ternary weights (as tfc-wternarya2)"
_TWO_VALUES = "which have only two values: take method slim or tie"


@dataclass(frozen=True)
class Method:
    """A method of compression.

    - ``summary``: what it does, in one sentence.
    - ``apply``: returns the compressed copy of a task's network.
    - ``counts``: what a density is a share of, "weights", "neurons" or "channels"; None: the method has no density.
    - ``fraction``: the default of what becomes 0.
    - ``options``: further options with their defaults. A whole number, a number, a text or a bool accepts only such.
    - ``trains``: whether ``apply`` trains the network itself with the epochs of ``--epochs``, and no training follows.
    - ``rates``: learning rates of the training that follows, or "own" for those of the network's training; None: a
      tenth of these.
    - ``savings``: what less of it saves in each layer, for the option ``by``.
    - ``one_bit``: why it takes no 1-bit weights, and what to do instead; None: it takes them.
    - ``whole``: whether it always changes the whole network, so that no layers can be chosen.
    """

    summary: str
    apply: "Callable[[Task], Network]"
    counts: Literal["weights", "neurons", "channels"] | None = None
    fraction: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = False
    rates: tuple[float, float] | Literal["own"] | None = None
    savings: "Savings | None" = None
    one_bit: str | None = _NO_ZERO
    whole: bool = False


def _weight_savings(
    model: "Network", cost: "CostModel", fraction: float, options: Mapping[str, Any], layers: Sequence[str] | None
) -> dict[str, float]:
    from quant.compression.saving import savings

    return savings(model, cost, options["by"], fraction=fraction, structure=options["structure"], layers=layers)


def _channel_savings(
    model: "Network", cost: "CostModel", fraction: float, options: Mapping[str, Any], layers: Sequence[str] | None
) -> dict[str, float]:
    from quant.compression.criteria import channel_savings

    return channel_savings(model, cost, options["by"], fraction=fraction, layers=layers)


def _prune(task: Task) -> "Network":
    from quant import compression

    options = _selection(task)
    return compression.prune(task.model, task.fraction, layers=task.layers, savings=task.savings, **options)


def _obd(task: Task) -> "Network":
    from quant import compression

    x, y = task.frames()
    options = _selection(task)
    s = compression.saliency(task.model, x, y, layers=task.layers, frames=options.pop("frames"))
    return compression.prune(
        task.model, task.fraction,
        layers=task.layers, score=lambda name, _layer: s[name], savings=task.savings, **options,
    )  # fmt: skip


def _selection(task: Task) -> dict[str, Any]:
    return {name: value for name, value in task.options.items() if name != "by"}


def _obs(task: Task) -> "Network":
    from quant import compression

    assert task.fraction is not None
    return compression.obs(task.model, task.frames()[0], task.fraction, layers=task.layers, **task.options)


def _obq(task: Task) -> "Network":
    from quant import compression

    return compression.obq(task.model, task.frames()[0], layers=task.layers, **task.options)


def _merge(task: Task) -> "Network":
    from quant import compression

    assert task.fraction is not None
    return compression.merge_neurons(task.model, task.fraction, layers=task.layers)


def _tie(task: Task) -> "Network":
    from quant import compression

    return compression.tie(task.model, task.options["structure"], layers=task.layers)


def _share(task: Task) -> "Network":
    from quant import compression

    return compression.share_weights(task.model, layers=task.layers, **task.options)


def _slim(task: Task) -> "Network":
    from quant.training.slimming import slim_by

    assert task.fraction is not None
    options = {name: value for name, value in task.options.items() if name != "by"}
    return slim_by(
        task.model, task.data, task.config, task.fraction,
        layers=task.layers, savings=task.savings, teacher=task.teachers, checkpoint=task.checkpoint, resume=task.resume,
        progress=task.progress, **options,
    )  # fmt: skip


def _low_rank(task: Task) -> "Network":
    from quant import compression

    options = dict(task.options)
    frames, energy, rank = options.pop("frames"), options.pop("energy"), options.pop("rank")
    if frames < 1:
        raise QuantError(
            f"frames={frames} is not at least 1: the inputs that quantizers take their ranges from", status=2
        )
    budget = None if task.fraction is None else 1 - task.fraction
    given: dict[str, Any] = {"rank": rank or None, "energy": energy or None, "budget": budget}
    return compression.low_rank(task.model, **given, **options, layers=task.layers, x=task.frames()[0][:frames])


def _scratch(task: Task) -> "Network":
    from quant.compression.restructure import renewed

    return renewed(task.model)


def _soft_sharing(task: Task) -> "Network":
    from quant.training.exits import exits_of
    from quant.training.soft_sharing import RATE, default_epochs, soft_sharing

    options = dict(task.options)
    validation = task.config.validation if exits_of(task.model) else 0.0  # which thresholds of exits are chosen on
    epochs = options.pop("prior_epochs") or default_epochs(task.data, task.config.batch_size)
    config = replace(task.config, epochs=epochs, learning_rate=(RATE, RATE), validation=validation, patience=None)
    return soft_sharing(
        task.model, task.data, config,
        layers=task.layers, teacher=task.teachers, checkpoint=task.checkpoint, resume=task.resume,
        progress=task.progress, **options,
    )  # fmt: skip


def _deep_compression(task: Task) -> "Network":
    from quant.training.deep_compression import deep_compression

    assert task.fraction is not None
    return deep_compression(
        task.model, task.data, task.config, fraction=task.fraction, layers=task.layers, teacher=task.teachers,
        checkpoint=task.checkpoint, resume=task.resume, progress=task.progress, **task.options,
    )  # fmt: skip


_SELECTION = {"structure": "unstructured", "jointly": False, "by": "size"}

METHODS: dict[str, Method] = {
    "prune": Method(
        "the weights of smallest magnitude become 0 (Han et al. 2015)",
        _prune,
        counts="weights",
        fraction=0.75,
        options=_SELECTION,
        savings=_weight_savings,
    ),
    "obd": Method(
        "the weights of least h_ii w_i^2 / 2 become 0, h from squared gradients (Optimal Brain Damage)",
        _obd,
        counts="weights",
        fraction=0.75,
        options={**_SELECTION, "frames": 256},
        savings=_weight_savings,
    ),
    "obs": Method(
        "weights become 0 one by one, and the others make up for it (Optimal Brain Surgeon, layer by layer)",
        _obs,
        counts="weights",
        fraction=0.75,
        options={"frames": 1024, "damping": 1e-2},
    ),
    "obq": Method(
        "weights become integers of fewer bits one by one, and the others make up for it (Optimal Brain Quantizer)",
        _obq,
        options={"bits": 3, "frames": 1024, "damping": 1e-2},
        one_bit="which cannot have fewer: take method slim or tie",
    ),
    "soft-sharing": Method(
        "a mixture of Gaussians is the prior of the weights, which become its means or 0 (Ullrich et al. 2017)",
        _soft_sharing,
        options={
            "tau": 0.003, "components": 16, "zero": 0.99, "reach": 0.6, "deviation": 0.25, "prior_epochs": 0,
        },
        rates=CENTROID_RATE,
        one_bit=_TWO_VALUES,
    ),
    "merge": Method(
        "similar neurons become one, which takes over the outgoing weights (Srinivas, Babu 2015)",
        _merge,
        counts="neurons",
        fraction=0.5,
        one_bit="whose sums need more bits: take method slim",
    ),
    "slim": Method(
        "channels and neurons go; criteria: l1, slimming, structured, less-is-more, neurons, lasso, uniform (see docs)",
        _slim,
        counts="channels",
        fraction=0.5,
        options={
            "criterion": "l1", "by": "size", "granularity": 0, "strength": 0.0, "mixture": 0.5, "penalty_epochs": 10,
            "frames": 1024,
        },
        savings=_channel_savings,
        one_bit=None,
    ),
    "low-rank": Method(
        "layers become products of smaller ones with a quantizer between, from the SVD or CP (Denton et al. 2014, ...)",
        _low_rank,
        counts="weights",
        fraction=0.75,
        options={
            "form": "separable", "rank": 0, "energy": 0.0, "norm": False, "granularity": 0, "groups": 2, "frames": 1024,
        },
        one_bit="which are no sums of products: take method slim",
    ),
    "scratch": Method(
        "the same layers get new weights, trained at the rates of the run, for comparison (Liu et al. 2019)",
        _scratch,
        rates="own",
        one_bit=None,
        whole=True,
    ),
    "tie": Method(
        "a structure says which weights are one value: circulant blocks, hashed weights, rotated filters (see docs)",
        _tie,
        options={"structure": "circulant:8"},
        rates="own",  # a tied network is far from the dense one
        one_bit=None,
    ),
    "share": Method(
        "k-means gives each layer a few values that its weights share",
        _share,
        options={"clusters": 16, "init": "linear", "jointly": False},
        rates=CENTROID_RATE,
        one_bit=_TWO_VALUES,
    ),
    "deep-compression": Method(
        "prunes, trains, shares the weights and trains their values (Han et al. 2016)",
        _deep_compression,
        counts="weights",
        fraction=0.8,
        options={"clusters": 32, "jointly": False},
        trains=True,
    ),
}  # fmt: skip
"""The methods by name. A further one is one more entry."""


def find_method(name: str) -> Method:
    """Returns a method by name. Raises QuantError (status 2) for an unknown one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(METHODS)}"
        raise QuantError(f"no method {name!r}: {hint}", status=2)
    return METHODS[name]


def complete_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all options of a method, those that are not given at their defaults.

    Raises QuantError (status 2) for an option that the method does not have, and for a value of another type.
    """
    method = find_method(name)
    for option, value in given.items():
        if option not in method.options:
            known = ", ".join(f"{key}={default}" for key, default in method.options.items()) or "none"
            raise QuantError(f"method {name} has no option {option!r}: its options are {known}", status=2)
        default = method.options[option]
        number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not type(default) and not number:
            kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(default)]
            raise QuantError(f"option {option}={value!r} of method {name} is not {kind}, as {default}", status=2)
    return {**method.options, **given}
