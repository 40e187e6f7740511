"""Widths of layers and activations that are learned in a training whose loss has the expected cost of the hardware."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from quant import layers
from quant.cost import CostModel
from quant.data import DataSet, load_data
from quant.distillation.teacher import TeacherLike
from quant.errors import QuantError
from quant.layer_summary import FLOAT_BITS
from quant.metrics import cost_input, summary
from quant.models.network import Network
from quant.models.registry import create_model
from quant.models.widths import (
    Width,
    activation_scheme,
    hidden_activations,
    present_width,
    weighted_layers,
    with_width,
)
from quant.quantizers.formed import keep_quantizer
from quant.quantizers.mixed import Choice, MeanSign, Mixed
from quant.training.config import TrainConfig
from quant.training.loop import fit
from quant.training.start import start_from
from quant.training.width_search import WidthSearch

__all__ = ["ExpectedCost", "LayerCosts", "LearnedWidths", "learn_widths", "width_costs"]

TEMPERATURES = 5.0, 0.2
"""Of the first and the last step; it falls exponentially. Samples are even at first, and nearly one choice at last."""


@dataclass(frozen=True)
class LayerCosts:
    """The cost of a layer by the widths of its weights (rows) and of its inputs (columns).

    ``reads``: the hidden activations that it reads. The columns are their candidates, the largest of them where it
    reads several; one column where it reads none, or none is learned.
    """

    reads: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LearnedWidths:
    """What was learned: widths by name of ``weights`` and ``activations`` (empty where they were not learned), the
    ``probabilities`` of their candidates, and the ``cost`` of all layers there and at the ``largest`` widths.

    ``by``: the part of the cost; ``epochs``: those that learned the widths.
    """

    weights: Mapping[str, Width]
    activations: Mapping[str, int]
    probabilities: Mapping[str, tuple[float, ...]]
    by: str
    cost: float
    largest: float
    epochs: int

    @property
    def options(self) -> dict[str, list[Any]]:
        """The options of ``create_model`` that state these widths."""
        found: dict[str, list[Any]] = {
            "weight_widths": list(self.weights.values()),
            "activation_widths": list(self.activations.values()),
        }
        return {name: widths for name, widths in found.items() if widths}


class Supernet:
    """A network with mixtures of candidates for the weights of its layers and for its activations (``choices``, by
    name), with the weights of ``model``.

    Raises QuantError (status 2) for networks whose scheme has one width, for candidates that it does not have, and for
    a network that ``create_model`` does not make.
    """

    def __init__(self, model: Network, settings: WidthSearch) -> None:
        if model.source is not None or model.restored_by is not None or model.changes:
            raise QuantError(
                f"the widths of {model.name} cannot be learned: it is a network of your own, or a compressed one; take "
                "one that bitfabric train --list names",
                status=2,
            )
        acts = hidden_activations(model)
        # Heads of early exits keep the width of the network's name, which ``weight_widths`` leaves them.
        held = {name: each for name, each in weighted_layers(model).items() if not name.startswith("heads.")}
        if not held:
            raise QuantError(f"model {model.name} has no layers whose width could be learned", status=2)
        self.settings = settings
        self.candidates: dict[str, tuple[Width, ...]] = {}
        largest: dict[str, Any] = {}
        if settings.weights:
            self.candidates |= dict.fromkeys(held, settings.weights)  # type: ignore[arg-type]
            largest["weight_widths"] = [settings.weights[-1]] * len(held)
        if settings.activations:
            self.candidates |= dict.fromkeys(acts, settings.activations)
            largest["activation_widths"] = [settings.activations[-1]] * len(acts)
        self.activations = tuple(acts) if settings.activations else ()
        self.network = _new(model, largest)
        start_from(self.network, model)
        self.choices = {name: Choice(len(widths)) for name, widths in self.candidates.items()}
        for name, layer in weighted_layers(self.network).items():
            if name in self.choices:
                keep_quantizer(layer.weight_quant)
                layer.weight_quant.tensor_quant = Mixed(
                    self.choices[name],
                    [
                        MeanSign() if width == 1 else with_width(layer, model.scheme, width).weight_quant.tensor_quant
                        for width in self.candidates[name]
                    ],
                )
        for name, act in hidden_activations(self.network).items():
            if name in self.choices:
                made = [layers.activation(activation_scheme(model.scheme, int(w))) for w in self.candidates[name]]
                keep_quantizer(act.act_quant)
                act.act_quant.fused_activation_quant_proxy.tensor_quant = Mixed(
                    self.choices[name], [each.act_quant.fused_activation_quant_proxy.tensor_quant for each in made]
                )

    @torch.no_grad()
    def chosen(self, widths: Mapping[str, list[Any]]) -> Network:
        """A new network with the learned widths (options of ``create_model``), and with all that was learned: weights,
        biases, BatchNorms, and the scales of quantizers.

        1-bit weights have no scale; their latent weights get the mean size of new ones.
        """
        network = _new(self.network, widths)
        start_from(network, self.network)
        for name, layer in weighted_layers(network).items():
            trained = self._layer(name).weight_quant.tensor_quant
            if isinstance(trained, Mixed) and present_width(layer) == 1:
                layer.change_weight(_spread)
            elif isinstance(trained, Mixed):
                layer.weight_quant.tensor_quant.load_state_dict(trained.quantizers[trained.choice.best].state_dict())
        for name, act in hidden_activations(network).items():
            trained = self._layer(name).act_quant.fused_activation_quant_proxy.tensor_quant
            if isinstance(trained, Mixed):
                state = trained.quantizers[trained.choice.best].state_dict()
                act.act_quant.fused_activation_quant_proxy.tensor_quant.load_state_dict(state)
        return network

    def _layer(self, name: str) -> Any:
        return self.network.get_submodule(name)


def _new(model: Network, widths: Mapping[str, Any]) -> Network:
    """A new network like ``model`` with other widths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # whatever is drawn is replaced
        return create_model(model.name, model.scheme, **{**model.options, **widths})


def _spread(weight: torch.Tensor) -> None:
    """Scales latent weights of signs to the mean magnitude of those between -1 and 1."""
    weight.mul_(0.5 / weight.abs().mean().clamp(min=torch.finfo(weight.dtype).tiny)).clamp_(-1.0, 1.0)


def width_costs(model: Network, settings: WidthSearch, cost: CostModel | None) -> dict[str, LayerCosts]:
    """Returns the costs of each layer at all widths of its weights and inputs, from a cost model.

    Layers are dense. Activations themselves (thresholds) are not in the costs of layers, only the width of what they
    pass on.

    Raises QuantError (status 2) without a cost model, for layers with floating-point inputs, where no width changes the
    cost, and as ``Supernet``.
    """
    if cost is None:
        raise QuantError(
            f"learning widths by {settings.by} needs a cost model: cost=flows.cost.HardwareCost(device), or --target",
            status=2,
        )
    net = Supernet(model, settings)
    held = weighted_layers(net.network)
    columns = [_summaries(net, dict.fromkeys(net.activations, i)) for i in range(max(1, len(settings.activations)))]
    narrow = dict.fromkeys(net.activations, 0)
    wider = {act: _summaries(net, {**narrow, act: -1}) for act in net.activations}
    found = {}
    for name, layer in held.items():
        reads = tuple(act for act, rows in wider.items() if rows[name].act_bits != columns[0][name].act_bits)
        inputs = [cost_input(layer, rows[name]) for rows in (columns if reads else columns[:1])]
        if columns[0][name].act_bits == FLOAT_BITS:
            raise QuantError(f"layer {name} has floating-point inputs, which have no cost in hardware", status=2)
        widths = net.candidates.get(name, (inputs[0][1].weights,))
        table = [
            [float(getattr(cost(shape, replace(bits, weights=width)), settings.by)) for shape, bits in inputs]  # type: ignore[arg-type]
            for width in widths
        ]
        found[name] = LayerCosts(reads, tuple(map(tuple, table)))
    if all(len({value for row in each.costs for value in row}) == 1 for each in found.values()):
        raise QuantError(
            f"no width changes the {settings.by} of a layer there: learn by another part of the cost, or at another "
            "rate (--fps)",
            status=2,
        )
    return found


def _summaries(net: Supernet, fixed: Mapping[str, int]) -> dict[str, Any]:
    """The summary of the network's layers by name, with candidates (by index) of some activations."""
    for name, choice in net.choices.items():
        index = fixed.get(name, -1)
        choice.fixed = index % len(net.candidates[name])
    try:
        return {row.name: row for row in summary(net.network)}
    finally:
        for choice in net.choices.values():
            choice.fixed = None


class ExpectedCost:
    """The expected cost of all layers: ``sum_l sum_ij p_l(i) q_l(j) cost_l(i, j)``, differentiable in the choices.

    p is the softmax of a layer's own choice, q the distribution of the widest of the activations that it reads, whose
    choices are independent.
    """

    def __init__(self, costs: Mapping[str, LayerCosts], choices: Mapping[str, Choice]) -> None:
        self.costs, self.choices = costs, choices
        self.tables = {name: torch.tensor(each.costs) for name, each in costs.items()}

    def __call__(self) -> torch.Tensor:
        """The expected cost, a scalar."""
        return torch.stack(
            [self._rows(name) @ table @ self._columns(name) for name, table in self.tables.items()]
        ).sum()

    def _rows(self, name: str) -> torch.Tensor:
        if name in self.choices:
            return self.choices[name].probabilities
        return self.tables[name].new_ones(1)

    def _columns(self, name: str) -> torch.Tensor:
        below = self.tables[name].new_ones(self.tables[name].shape[1])
        if not self.costs[name].reads:
            return below
        for act in self.costs[name].reads:
            below = below * torch.cumsum(self.choices[act].probabilities, 0)
        return torch.diff(below, prepend=below.new_zeros(1))

    def at(self, index: Mapping[str, int]) -> float:
        """The cost at one candidate of each choice, by name."""
        return sum(
            float(table[index.get(name, 0), max((index[act] for act in self.costs[name].reads), default=0)])
            for name, table in self.tables.items()
        )

    def to(self, device: torch.device) -> None:
        """Moves tables and logits, in place."""
        self.tables = {name: table.to(device) for name, table in self.tables.items()}
        for choice in self.choices.values():
            choice.logits.data = choice.logits.data.to(device)


class _Learning(Callback):
    """Adds ``strength * E / E_max`` to the loss, trains the logits with their own Adam, and lowers the temperature."""

    def __init__(self, net: Supernet, expected: ExpectedCost, largest: float) -> None:
        self.choices, self.settings, self.expected, self.largest = net.choices, net.settings, expected, largest
        self.optimizer = torch.optim.Adam([each.logits for each in net.choices.values()], lr=net.settings.rate)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if trainer.world_size > 1:
            raise QuantError("widths are learned on one device: leave --devices out", status=2)
        self.expected.to(module.device)
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # its state goes where the logits are
        self.steps = trainer.max_epochs * trainer.num_training_batches

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        first, last = TEMPERATURES
        done = trainer.global_step / max(1, self.steps - 1)
        for choice in self.choices.values():
            choice.temperature = first * (last / first) ** done
        self.optimizer.zero_grad()

    def on_after_backward(self, *_: Any) -> None:
        (self.settings.strength / self.largest * self.expected()).backward()

    def on_train_batch_end(self, *_: Any) -> None:
        self.optimizer.step()

    def _request(self) -> str:
        return json.dumps([asdict(self.settings), list(self.choices)])

    def state_dict(self) -> dict[str, Any]:
        logits = {name: choice.logits.detach().clone() for name, choice in self.choices.items()}
        return {"request": self._request(), "logits": logits, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["request"] != self._request():
            raise QuantError(
                "the unfinished training learns other widths: take the same settings, or train without resume", status=2
            )
        for name, choice in self.choices.items():
            choice.logits.data = state["logits"][name].clone()
        self.optimizer.load_state_dict(state["optimizer"])


def learn_widths(
    model: Network,
    data: DataSet | str = "digits",
    config: TrainConfig | None = None,
    *,
    cost: CostModel | Mapping[str, LayerCosts],
    teacher: TeacherLike | Sequence[TeacherLike] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> tuple[Network, LearnedWidths]:
    """Learns the widths of ``model`` in the first epochs of a training, and returns a new network with them, and what
    was learned. ``model`` stays as it is.

    ``config.widths`` has the settings (default: ``WidthSearch()``), of which ``config.phases()`` makes the training of
    the first epochs, without pruning, penalties and ties, and that of the rest, which ``fit`` does with the network
    that is returned. ``cost``: the cost model (``flows.cost.HardwareCost``), or what ``width_costs`` returned. The
    others are as in ``quant.fit``.

    Raises QuantError (status 2) as ``WidthSearch``, ``width_costs`` and ``fit``, and for several devices.
    """
    config = TrainConfig() if config is None else config
    settings = config.widths or WidthSearch()
    first, _ = replace(config, widths=settings).phases()
    data = load_data(data, config.drawn_by) if isinstance(data, str) else data
    costs = cost if isinstance(cost, Mapping) else width_costs(model, settings, cost)
    net = Supernet(model, settings)
    expected = ExpectedCost(costs, net.choices)
    largest = expected.at({name: len(widths) - 1 for name, widths in net.candidates.items()})
    learning = _Learning(net, expected, largest)
    fit(
        net.network, data, first,
        teacher=teacher, checkpoint=checkpoint, resume=resume, progress=progress, callbacks=[learning],
    )  # fmt: skip
    best = {name: choice.best for name, choice in net.choices.items()}
    widths = {name: net.candidates[name][index] for name, index in best.items()}
    learned = LearnedWidths(
        {name: width for name, width in widths.items() if name not in net.activations},
        {name: int(widths[name]) for name in net.activations},
        {name: tuple(choice.probabilities.tolist()) for name, choice in net.choices.items()},
        settings.by,
        expected.at(best),
        largest,
        first.epochs,
    )
    return net.chosen(learned.options).to(next(net.network.parameters()).device), learned
