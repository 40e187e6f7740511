"""The training of tables: encoder levels from the data, wires learned and frozen, constant tables."""

import warnings
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant.errors import QuantWarning
from quant.lookup.scores import WireScores
from quant.lookup.tables import TableLayer
from quant.lookup.thermometer import Thermometer

RARE = 0.005
"""Share of the training samples below which a bit of the encoder is wired to no table."""
SAMPLES = 8192
"""Training samples from which levels and first wires are chosen."""
COLLAPSED = 0.9
"""Share of constant tables from which on a layer is warned of."""


class LookupTraining(Callback):
    """Chooses the levels of a model's encoders, learns the wires of its ``TableLayer``s in the first steps of a
    training, and then freezes them.

    The scores of the wires are part of every checkpoint; so a resumed training equals an uninterrupted one.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.layers = _table_layers(model)
        self.ends = dict.fromkeys(self.layers, 0)
        self.samples = torch.empty(0)

    def plan(self, steps: int, samples: torch.Tensor) -> None:
        """Sets the schedule of a training of ``steps`` steps, and training samples (N, *input_shape) to look at."""
        self.ends = {name: round(layer.scheme.wiring_share * steps) for name, layer in self.layers.items()}
        self.samples = samples

    def prepare(self, model: torch.nn.Module) -> None:
        """Chooses levels and first wires for a new training, layer by layer, as the samples reach them.

        The first layers are wired to bits that are neither almost never nor almost always 1. Layers that a training
        has wired stay as they are, and so do the levels in a network of such layers.
        """
        wired = [layer.wired for layer in self.layers.values()]
        if all(wired) and any(layer.wiring != "fixed" for layer in self.layers.values()):
            return

        def choose_levels(module: Thermometer, inputs: tuple[torch.Tensor]) -> None:
            module.fit_levels(inputs[0].detach())

        def start(layer: TableLayer, inputs: tuple[torch.Tensor]) -> None:
            candidates = torch.arange(layer.inputs, device=inputs[0].device)
            if not inputs[0].requires_grad:  # bits that the training does not change
                share = layer.rows(inputs[0]).mean(1)
                useful = ((share > RARE) & (share < 1 - RARE)).nonzero().flatten()
                candidates = useful if len(useful) >= layer.fan_in else candidates
            if layer.wired:
                return
            if layer.wiring == "learned" and self.ends[name_of[layer]]:
                layer.start_learning(candidates)
            else:
                layer.start_wiring(candidates)

        name_of = {layer: name for name, layer in self.layers.items()}
        hooks = [
            module.register_forward_pre_hook(choose_levels if isinstance(module, Thermometer) else start)
            for module in model.modules()
            if isinstance(module, Thermometer | TableLayer)
        ]
        training = model.training
        try:
            model.eval()(self.samples)
        finally:
            model.train(training)
            for hook in hooks:
                hook.remove()

    def on_train_start(self, _trainer: Any, module: Any) -> None:
        for layer in self.layers.values():
            if layer.scores is not None:
                layer.scores = layer.scores.to(module.device)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        for name, layer in self.layers.items():
            if trainer.global_step >= self.ends[name]:
                layer.stop_learning()

    def on_train_end(self, *_: Any) -> None:
        for layer in self.layers.values():
            layer.stop_learning()
            layer.wired = True

    def on_exception(self, *_: Any) -> None:
        self.on_train_end()

    def state_dict(self) -> dict[str, Any]:
        learned = ((name, layer.scores) for name, layer in self.layers.items())
        return {name: (scores.values, scores.candidates) for name, scores in learned if scores is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, (values, candidates) in state.items():
            self.layers[name].scores = WireScores(values, candidates)


def _table_layers(model: torch.nn.Module) -> dict[str, TableLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, TableLayer)}


def has_tables(model: torch.nn.Module) -> bool:
    """Returns whether a model has layers of tables."""
    return bool(_table_layers(model))


def has_encoders(model: torch.nn.Module) -> bool:
    """Returns whether a model has thermometer encoders."""
    return any(isinstance(module, Thermometer) for module in model.modules())


@torch.no_grad()
def constant_tables(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns for each layer and table (outputs,) +1 or -1 if it is always 1 or 0 for the samples, else 0."""
    layers = _table_layers(model)
    highest, lowest = (
        {name: torch.zeros(layer.outputs, device=x.device) for name, layer in layers.items()} for _ in "ab"
    )

    def watch(name: str) -> Any:
        def observe(_rows: torch.Tensor, y: torch.Tensor) -> None:
            highest[name] = torch.maximum(highest[name], y.amax(1))
            lowest[name] = torch.maximum(lowest[name], 1 - y.amin(1))

        return observe

    training = model.training
    for name, layer in layers.items():
        layer.observers.append(watch(name))
    try:
        model.eval()
        for part in x.split(1024):
            model(part.float())
    finally:
        model.train(training)
        for layer in layers.values():
            layer.observers.clear()
    return {name: highest[name] - lowest[name] for name in layers}


@torch.no_grad()
def freeze_constants(model: torch.nn.Module, x: torch.Tensor) -> None:
    """Makes tables that are the same for all training samples constants, where their scheme says so.

    Warns (QuantWarning) of layers that have collapsed: most of their tables do not depend on the samples.
    """
    layers = _table_layers(model)
    for name, constant in constant_tables(model, x).items():
        share = float(constant.abs().mean())
        if share >= COLLAPSED:
            warnings.warn(
                f"layer {name} has collapsed: {share:.0%} of its tables are the same for all training samples; lower "
                "the learning rate, take fewer layers or more bits of the encoder, or train longer",
                QuantWarning,
                stacklevel=3,
            )
        if layers[name].scheme.freeze_constants:
            layers[name].tables[constant != 0] = constant[constant != 0][:, None]
