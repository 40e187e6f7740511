"""One network of a study: its cost before a training, its training, and what was reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.estimates import estimate_build
from flows.explore.cost_table import Cost, CostTable
from flows.explore.retype import RetypingError
from flows.explore.settings import LARGEST, Settings
from flows.explore.space import Dimensions, Params, encoded
from flows.explore.variants import Variants, create, lowered, new_network, new_variants, variants_of
from flows.planner import CLOCK_ERROR
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.model import Model

WORST_LATENCY = float(1 << 40)
"""Stands for a latency that is not known, of a network that does not fit."""


@dataclass(frozen=True)
class Reached:
    """What a trained network reached: ``accuracy`` on validation frames, ``values`` of the study's objectives, and its
    estimated ``hardware``; ``excess`` over the limits, with ``why``; ``layers``: lookup tables by layer, as in
    ``Cost``."""

    accuracy: float
    values: tuple[float, float]
    hardware: Mapping[str, float]
    layers: Mapping[str, int]
    excess: float
    why: str


class Trials:
    """The networks of a study, with what they have in common: data, cost table, and one lowering for each structure.

    Raises QuantError and UsageError for models, data and dimensions that do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        from quant.data import load_data
        from quant.training.config import check_augmentation

        self.settings = settings
        self.dataset = load_data(settings.data, settings.seed, **settings.data_options)
        check_augmentation(settings.augment, self.dataset.name, self.dataset.shape)
        if self.dataset.task != "classification":
            raise UsageError(
                f"{settings.data} is for {self.dataset.task}, and a study is about the accuracy of classes"
            )
        self.table = CostTable(settings.target, settings.fps, settings.clock_mhz, settings.limits)
        self.hidden: list[int] = []
        self._places: dict[str, Dimensions] = {}
        self._own_widths: dict[str, Any] = {}
        fixed = {name: values[0] for name, values in settings.space.options.items() if len(values) == 1}
        self._check_schemes(fixed)
        self.dimensions = self._of(fixed)
        if settings.space.width:
            self._scaled(settings.space.width[0])
        self.lowerings = 0
        self._variants: dict[tuple[Any, ...], Variants] = {}

    def _check_schemes(self, structure: Mapping[str, Any]) -> None:
        """Raises UsageError for a scheme of the space that this network cannot have."""
        from quant.errors import QuantError

        for scheme in self.settings.space.scheme:
            try:
                create(self.settings.model, scheme, {**self.dataset.options, **structure}, self.settings.seed)
            except QuantError as error:
                raise UsageError(
                    f"model {self.settings.model} cannot have each scheme of the space: {error}; leave {scheme} out of "
                    "scheme (--space), or name a network of other widths, as tfc-w4a4"
                ) from None

    def _scaled(self, factor: float) -> dict[str, Any]:
        """The option that multiplies the network's channels or hidden outputs."""
        from quant.models.registry import _options, _parts, builder
        from quant.models.source import is_own

        model = self.settings.model
        known = {} if is_own(model) else _options(builder(_parts(model)[0]))
        if "width" in known:
            return {"width": factor}
        if "hidden" in known:
            return {"hidden": [max(1, round(factor * each)) for each in self.hidden]}
        raise UsageError(
            f"model {model} has no factor of all its layers: leave width out, and give sizes as options (--space)"
        )

    def structure(self, params: Params) -> dict[str, Any]:
        """The network's options but for widths by layer."""
        options = {
            name: next(value for value in values if encoded(value) == params[f"option.{name}"])
            for name, values in self.settings.space.options.items()
        }
        if "width" in params:
            options |= self._scaled(float(params["width"]))
        return options | ({"low_rank": params["rank"]} if params.get("rank", 1) != 1 else {})

    def places(self, params: Params) -> Dimensions:
        """The space with the layers and activations of this network, which options may change."""
        if not self.settings.space.options and not self.settings.space.rank:
            return self.dimensions
        structure = self.structure(params)
        key = repr(sorted(structure.items()))
        if key not in self._places:
            self._places[key] = self._of(structure)
        return self._places[key]

    def _of(self, structure: Mapping[str, Any]) -> Dimensions:
        from quant.models.widths import hidden_activations, present_width, weighted_layers

        space = self.settings.space
        scheme = space.scheme[0] if space.scheme else None
        options = {**self.dataset.options, **structure}
        model = create(self.settings.model, scheme, options, self.settings.seed)
        if not model.scheme.quantizes:
            raise UsageError(f"model {model.name} is float and has no hardware: name a quantized one, as tfc-w4a4")
        if getattr(model, "exits", None) is not None:
            raise UsageError(
                f"model {model.name} has early exits, whose hardware depends on thresholds that a training chooses: "
                "leave early_exit out of the space, and train what is found with it (train --early-exit)"
            )
        layers, acts = tuple(weighted_layers(model)), tuple(hidden_activations(model))
        if any(space.prune) and not space.bits:
            self._own_widths |= {name: present_width(layer) for name, layer in weighted_layers(model).items()}
            if all(self._own_widths[name] == 1 for name in layers):
                raise UsageError(
                    f"model {model.name} has no layers of at least 2 bits, which could be pruned: leave prune out"
                )
        for dimension, what, there in (("bits", "layers", layers), ("acts", "activations", acts)):
            if getattr(space, dimension) and not there:
                raise UsageError(
                    f"model {model.name} has no {what} whose width could be chosen: leave {dimension} out, and choose "
                    "other dimensions (--search), or options of the network (--space)"
                )
        self.hidden = self.hidden or [
            list(held.values())[-1].out_features // getattr(block.linear, "experts", 1)
            for block in getattr(model, "hidden", ())
            if (held := weighted_layers(block))
        ]
        return Dimensions(space, layers, acts)

    def options(self, params: Params) -> dict[str, Any]:
        """All of the network's options."""
        found, places = self.structure(params), self.places(params)
        for option, widths in (
            ("weight_widths", places.layer_widths(params)),
            ("activation_widths", places.activation_widths(params)),
        ):
            if widths is not None:
                found[option] = widths
        return found

    @cached_property
    def _frames(self) -> Any:
        return self.dataset.x_train[:64]

    def graph(self, params: Params) -> Graph:
        """The network's graph before a training; of the structures that were lowered before, without a lowering."""
        scheme = params.get("scheme")
        structure = self.structure(params)
        key = (scheme, *sorted((name, str(value)) for name, value in structure.items()))
        options = {**self.dataset.options, **structure}
        model, seed = self.settings.model, self.settings.seed
        name = None if scheme is None else str(scheme)
        places = self.places(params)
        widths, acts = places.layer_widths(params), places.activation_widths(params)
        try:
            if key not in self._variants:
                if self.settings.space.bits:
                    made = new_variants(model, options, self._frames, self.settings.space.bits, seed, name)
                else:
                    made = variants_of(new_network(model, options, self._frames, seed, name))
                self.lowerings += 1
                self._variants[key] = made
            variants = self._variants[key]
            return variants.graph(
                None if widths is None else dict(zip(variants.layers, widths, strict=True)),
                None if acts is None else dict(zip(variants.activations, acts, strict=True)),
                float(params.get("prune", 0.0)),
            )
        except RetypingError:
            self.lowerings += 1
            whole = {**self.dataset.options, **self.options(params)}
            return lowered(new_network(model, whole, self._frames, seed, name))

    def cost(self, params: Params) -> Cost:
        """The network's cost before a training."""
        return self.table.cost(self.graph(params))

    def missed(self, cost: Cost) -> tuple[float, float]:
        """The values of the objectives for a network that does not fit, and is never trained."""
        objective = self.settings.objectives[1]
        if objective == "latency":
            return 0.0, WORST_LATENCY
        return 0.0, float(getattr(cost, objective))

    def train(self, params: Params, folder: Path, epochs: int) -> Reached:
        """Trains the network in ``folder``, a run folder, and estimates it on the target.

        A run of the same network, data and code that the folder holds is not repeated. The accuracy is that on the
        frames that the training held out; the test set has no influence.
        """
        found = self.run(params, folder, epochs, self.settings.seed)
        return self.measured(folder, float(found["fit"]["validation_accuracy"]))

    def run(
        self, params: Params, folder: Path, epochs: int, seed: int, progress: bool = False, resume: bool = False
    ) -> dict[str, Any]:
        """Trains the network with a seed as ``quant.train_run`` does, and returns what that returns. Trainings with
        other seeds have the test set that the study's seed draws."""
        from quant import Pruning, TrainConfig, train_run

        settings = self.settings
        pruned = float(params.get("prune", 0.0))
        places = self.places(params)
        widths = places.layer_widths(params)
        own = self._own_widths if widths is None else dict(zip(places.layers, widths, strict=True))
        layers = [name for name in places.layers if own.get(name) != 1]
        prune = Pruning(pruned, layers=tuple(layers)) if pruned and layers else None
        scheme = params.get("scheme")
        config = TrainConfig(
            epochs=epochs, seed=seed, validation=settings.validation, augment=settings.augment,  # type: ignore[arg-type]
            prune=prune, split_seed=None if seed == settings.seed else settings.seed,
        )  # fmt: skip
        return train_run(
            settings.model,
            folder,
            config,
            data=settings.data,
            data_options=settings.data_options,
            scheme=None if scheme is None else str(scheme),
            model_options=self.options(params),
            progress=progress,
            resume=resume,
        )

    def measured(self, folder: Path, accuracy: float) -> Reached:
        """What the network in a run folder reaches on the target."""
        path, settings = folder / "model.onnx", self.settings
        cost = self.table.cost(Model.open(path).graph)
        excess, why = cost.excess, cost.why
        hardware = {
            name: float(getattr(cost, name)) for name in ("lut", "ff", "bram", "dsp", "energy", "interval", "fps")
        }
        if not excess:
            try:
                estimate = estimate_build(path, settings.target, **settings.build_options())
            except BitfabricError as error:
                excess, why = 1.0, str(error)
            else:
                hardware |= {name: float(each["estimated"]) for name, each in estimate["resources"].items()}
                hardware |= {name: float(value) for name, value in estimate["cycles"].items()}
                hardware |= {"fps": float(estimate["fps"]), "energy": estimate["energy"]["value"]}
                excess, why = self._clock_missed(estimate)
        if settings.min_accuracy is not None and accuracy < settings.min_accuracy and not excess:
            excess, why = (
                settings.min_accuracy - accuracy,
                f"accuracy {accuracy:.2%} of at least {settings.min_accuracy:.2%}",
            )
        value = hardware.get(settings.objectives[1], WORST_LATENCY)
        return Reached(accuracy, (accuracy, value), hardware, cost.layers, excess, why)

    def _clock_missed(self, estimate: Mapping[str, Any]) -> tuple[float, str]:
        """By how much a clock that was asked for is beyond what a build goes on with, and the reason."""
        clock, fmax = self.settings.build_options()["clock_mhz"], estimate["fmax_mhz"]["estimated"]
        if clock is None or fmax is None or clock <= CLOCK_ERROR * fmax:
            return 0.0, ""
        return clock / fmax - 1, f"a clock of {clock:g} MHz, and an estimated Fmax of {fmax:.0f} MHz"

    def directions(self) -> list[str]:
        """Whether each objective is sought large or small."""
        return ["maximize" if each in LARGEST else "minimize" for each in self.settings.objectives]
