"""The training loop, based on Lightning."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from quant.compression.tying import tie_layers
from quant.cost import CostModel
from quant.data import DataSet, load_data
from quant.data.dataset import data_hash
from quant.data.splits import held_out
from quant.distillation.guide import Guide
from quant.distillation.pseudo import pseudo_data
from quant.distillation.settings import Distillation
from quant.distillation.teacher import Teacher, TeacherLike
from quant.errors import QuantError
from quant.metrics import summary
from quant.models.network import Network, check_input_shape, load_parameters
from quant.training import runner
from quant.training.batches import Batches
from quant.training.callbacks import Bar, KeepBest, KeepCheckpoint
from quant.training.checkpoint import weights_hash
from quant.training.config import TrainConfig, check_augmentation, check_label_smoothing
from quant.training.exits import ExitFigures, choose_thresholds, measure_exits, prepare_exits
from quant.training.lightning_module import LOSSES, Epoch, Training, hand_out
from quant.training.logs import make_logger
from quant.training.lookup import SAMPLES, LookupTraining, freeze_constants, has_encoders, has_tables
from quant.training.objective import NUMBER_LOSSES, make_objective
from quant.training.penalties import penalty_of, penalty_savings
from quant.training.pruning import hardware_savings, pruning_callbacks

# Below this number of multiply-adds per forward step, several threads are slower than one (on a busy machine by a
# factor of ten).
SMALL = 3e7


@dataclass(frozen=True)
class FitResult:
    """Result of a training. Accuracies are fractions of 1; None for numbers (``quant.data.Task``). ``figures`` are
    those of the task (``quant.scores``) on the ``train`` and ``test`` set. ``exits`` are those of a network with early
    exits on the ``validation`` part and the ``test`` set, None for others; ``validation_accuracy``, by which the epoch
    was chosen, is then that of its last head.

    ``epoch`` is the epoch whose parameters the model now has. ``epochs`` is the requested number of epochs; ``history``
    contains the completed ones.
    """

    train_accuracy: float | None
    test_accuracy: float | None
    validation_accuracy: float | None
    epoch: int
    epochs: int
    seconds: float
    loss: str
    learning_rate: tuple[float, float]
    batch_size: int
    seed: int
    history: list[Epoch]
    figures: dict[str, dict[str, float]]
    exits: dict[str, ExitFigures] | None = None


def fit(
    model: Network,
    data: DataSet | str = "digits",
    config: TrainConfig | None = None,
    *,
    teacher: TeacherLike | Sequence[TeacherLike] | None = None,
    cost: CostModel | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    logs: str | os.PathLike[str] = "logs",
) -> FitResult:
    """Trains ``model`` in place and measures its accuracy.

    ``data`` is a data set or its name (``quant.load_data``). The test set is evaluated once, at the end, and does not
    influence the training. ``config`` has the settings (default: ``TrainConfig()``). The rules of the model's schemes
    apply: optimizer, clip of latent weights, Glorot-scaled learning rates, and loss and learning rates where ``config``
    has none. Layers of tables learn their wires (``quant.schemes.lookup.Lookup``). Equal arguments produce equal
    results on the same CPU. The model is trained in training mode, whatever mode it was in: BatchNorms and Dropout too.

    ``teacher`` is a trained network, float or quantized, or a run folder or checkpoint that contains one, or several of
    these (an ensemble). The model learns from it what ``config.distill`` states, in addition to the labels.

    ``config.prune`` prunes the network gradually while it is trained. With a validation part, only epochs after the
    last pruning can be the best one. ``config.slimming`` makes channels superfluous. ``cost`` states what layers cost
    in hardware (``flows.cost.HardwareCost``), for the option ``by`` of both.

    The losses of all heads of a network with early exits are added, and the thresholds of the exits are chosen on the
    validation part at the end, as ``config.exits`` states.

    ``checkpoint`` names a folder for the state of an unfinished training, ``last.ckpt``. It is written after an epoch
    and takes at most a fiftieth of the time. ``resume=True`` continues from it if it exists; the result is that of an
    uninterrupted training. ``config`` may have other epochs then, without pruning, penalties, teacher and tables: the
    learning rate goes on along the cosine of these epochs. ``logs`` is the folder for ``config.log``.

    ``callbacks`` are further callbacks of Lightning, called before those of this function. Their state is part of the
    checkpoints.

    ``progress`` shows a bar on standard error or in the notebook. None shows it on terminals and in notebooks only.

    Raises QuantError (status 2) for

    - label smoothing with a loss that does not support it;
    - augmentation of data that are not images;
    - data or a teacher whose shape, range or classes do not match the model;
    - a batch size that is not a multiple of the number of processes;
    - options that Lightning rejects, and strategies that fork or spawn;
    - pruning of 1-bit weights, which have no zero, or of more weights than leaves every output an input;
    - ``config.distill`` without a teacher;
    - early exits without a validation part, ``config.exits`` without early exits or with weights for others;
    - ``config.widths``, which ``learn_widths`` and ``train_run`` take;
    - ties that are not possible (``quant.compression.tie``), and pruning of tied weights;
    - ``resume`` without ``checkpoint``, and a checkpoint of a different training, with other data or teachers.

    Raises KeyboardInterrupt on Ctrl-C. Warns (QuantWarning) of layers of tables that do not depend on the samples.
    """
    start = time.perf_counter()
    config = TrainConfig() if config is None else config
    if config.widths is not None:
        raise QuantError(
            "fit trains the network that it is given: learn_widths(model, data, config, cost=...) returns one with the "
            "learned widths, for config.phases()[1]",
            status=2,
        )
    epochs, seed, batch_size = config.epochs, config.seed, config.batch_size
    if isinstance(data, str):
        data = load_data(data, config.drawn_by)
    usual = model.scheme.loss if data.task == "classification" else "mse"
    loss: str = usual if config.loss is None else config.loss
    rates = config.rates(model.scheme.learning_rate)
    _check(config, loss, model, data)
    weight = _class_weights(config, model, data)
    exits = prepare_exits(model, config.exits, config.validation)
    if config.tie is not None:
        tie_layers(model, config.tie.structure, config.tie.layers, start="sample")
    if teacher is not None and data.task != "classification":
        raise QuantError(f"a teacher teaches classes, but {data.name} is for {data.task}: leave it out", status=2)
    if teacher is None and config.distill != Distillation():
        raise QuantError(f"distill={', '.join(config.distill.terms)} needs teacher, a trained network", status=2)
    tutor = None if teacher is None else Teacher(teacher, model)
    saved = None if config.prune is None else hardware_savings(model, config.prune, cost)
    channels = None if config.slimming is None else penalty_savings(model, config.slimming, cost)
    request = {
        "model": model.name, "source": model.source and model.source.describe(),
        "scheme": model.scheme.describe(), "options": model.options,
        "changes": model.changes, "data": data.name,
        "epochs": epochs, "seed": seed, "batch_size": batch_size, "learning_rate": rates, "loss": loss,
        "label_smoothing": config.label_smoothing, "class_weights": config.class_weights,
        "augment": config.augment, "validation": config.validation,
        "patience": config.patience, "teacher": tutor and tutor.names,
        "distill": None if tutor is None else asdict(config.distill),
        "prune": None if config.prune is None else asdict(config.prune),
        "savings": saved, "slimming": None if config.slimming is None else asdict(config.slimming),
        "channel_savings": channels,
        "tie": None if config.tie is None else asdict(config.tie),
        "exits": None if exits is None else asdict(config.exits),
    }  # fmt: skip
    kept = None if checkpoint is None else KeepCheckpoint(Path(checkpoint))
    if kept is not None:  # what the names do not tell
        request |= {
            "samples": data_hash(data), "start": model.start,
            "taught_by": tutor and [weights_hash(network) for network in tutor.networks],
        }  # fmt: skip
    if resume and kept is None:
        raise QuantError("resume=True needs checkpoint, the folder to go on from", status=2)
    resumed = resume and kept is not None and kept.path.is_file()
    if resumed:
        fixed = any((config.prune, config.slimming, tutor)) or has_tables(model)
        _check_checkpoint(kept.path, request, fixed)  # type: ignore[union-attr]

    work = batch_size * summary(model).macs
    classes = data.task == "classification"
    chosen = held_out(data.y_train, config.validation, seed, classes, "validation", "validation")
    apart = torch.from_numpy(chosen)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)  # copies, as the arrays may be read-only
    best = KeepBest(_inputs(model, x[apart]), y[apart], config.patience) if config.validation else None
    bar = Bar(model.name, epochs)
    shown = bar if (bar.visible if progress is None else progress) else None
    pruning = [] if config.prune is None else pruning_callbacks(model, config.prune, saved)
    slimming = [] if config.slimming is None else [penalty_of(model, config.slimming, channels)]
    tables = LookupTraining(model) if has_tables(model) or has_encoders(model) else None
    own = [*pruning, *slimming, *(callback for callback in (tables, best, shown, kept) if callback is not None)]
    with runner.quiet(), torch.random.fork_rng(), runner.threads(1 if work < SMALL else torch.get_num_threads()):
        trainer = runner.trainer(epochs, [*callbacks, *own], config.trainer, make_logger(config.log, logs))
        rank, processes, device = trainer.global_rank, trainer.world_size, trainer.strategy.root_device
        if batch_size % processes:
            raise QuantError(
                f"batch_size={batch_size} cannot be shared by {processes} processes: take a multiple", status=2
            )
        x, y, apart = x.to(device), y.to(device), apart.to(device)
        known, labels = x[~apart], y[~apart]
        if tutor is not None and config.distill.pseudo:
            made = _pseudo(config.distill.pseudo, known, data, tutor.to(device), seed)
            known, labels = (torch.cat(both) for both in zip((known, labels), made, strict=True))
        if best is not None:
            best.x, best.y = best.x.to(device), best.y.to(device)
        batches = Batches(
            known, labels, batch_size,
            shape=model.input_shape, seed=seed, augment=config.augment, rank=rank, processes=processes,
        )  # fmt: skip
        if pruning:
            last = pruning[0].plan(epochs * len(batches))
            if best is not None:
                best.first = last
        torch.manual_seed(seed)
        guide = None
        if tutor is not None:
            model.to(device)
            guide = Guide(model, tutor.to(device), config.distill, _inputs(model, known).float(), labels, epochs)
            if best is not None and guide.hint_epochs:
                best.first = max(best.first, (guide.hint_epochs + 1) * len(batches))
        scale = None if model.target_scale is None else model.target_scale.to(device)
        weight = None if weight is None else weight.to(device)
        objective = make_objective(data.task, _losses(data)[loss], weight, config.label_smoothing, scale)
        if best is not None:
            best.quality = objective.quality
        torch.manual_seed(seed + rank)
        if tables is not None:
            order = torch.randperm(len(batches.x), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
            tables.plan(epochs * len(batches), _inputs(model, batches.x[order]).float())
            if not resumed:
                tables.prepare(model.to(device))
        training = Training(model, objective, rates, epochs, batches, request, guide, best)
        try:
            runner.run(trainer, training, batches, kept.path if resumed else None)  # type: ignore[union-attr]
        finally:
            if guide is not None:
                guide.close()
    if best is not None:
        load_parameters(model, best.state)
    model.to(device)
    if processes > 1:
        hand_out(list(model.state_dict().values()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = Batches(x[~apart], y[~apart], batch_size, shape=model.input_shape, seed=seed)
        model.scheme.finish(model, (inputs for inputs, _ in plain))
    if has_tables(model):
        freeze_constants(model, _inputs(model, plain.x))
    model.eval()
    if exits is not None:
        choose_thresholds(model, config.exits, _inputs(model, x[apart]), y[apart])
    seconds = time.perf_counter() - start
    x_test, y_test = (torch.tensor(a, device=device) for a in (data.x_test, data.y_test))
    parts = {"train": (_inputs(model, x), y), "test": (_inputs(model, x_test), y_test)}
    reached = {part: objective.figures(model, *pair) for part, pair in parts.items()}
    left = None
    if exits is not None:
        chosen_on = _inputs(model, x[apart]), y[apart]
        left = {"validation": measure_exits(model, *chosen_on), "test": measure_exits(model, *parts["test"])}
    return FitResult(
        train_accuracy=reached["train"].get("accuracy"),
        test_accuracy=reached["test"].get("accuracy"),
        validation_accuracy=None if best is None or not classes else best.accuracy,
        epoch=len(training.history) if best is None else best.epoch,
        epochs=epochs,
        seconds=seconds,
        loss=loss,
        learning_rate=rates,
        batch_size=batch_size,
        seed=seed,
        history=training.history,
        figures=reached,
        exits=left,
    )


def _pseudo(
    multiple: int, x: torch.Tensor, data: DataSet, teacher: Teacher, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples made up from the training set ``x``, with the teacher's labels."""
    values = x.cpu().numpy()
    if data.scale is None or data.offset is None:
        made = pseudo_data(values, multiple, low=data.low, high=data.high, seed=seed)
    else:
        codes = np.clip(np.rint((values - data.offset) / data.scale), data.low, data.high)
        made = pseudo_data(codes, multiple, low=data.low, high=data.high, seed=seed) * data.scale + data.offset
    samples = torch.from_numpy(made.astype(values.dtype)).to(x.device)
    return samples, torch.cat([teacher(part.float()).argmax(1) for part in samples.split(1000)])


def _losses(data: DataSet) -> dict[str, Callable[..., torch.Tensor]]:
    return LOSSES if data.task == "classification" else NUMBER_LOSSES


def _inputs(model: Network, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(len(x), *model.input_shape)


def _check(config: TrainConfig, loss: str, model: Network, data: DataSet) -> None:
    """Raises the errors of ``fit`` that depend on the network or on the data."""
    if loss not in _losses(data):
        raise QuantError(f"no loss {loss!r} for {data.task}: choose {' or '.join(_losses(data))}", status=2)
    check_label_smoothing(config.label_smoothing, loss if data.task == "classification" else "none")
    if data.task != "classification" and config.class_weights is not None:
        raise QuantError(f"class_weights are for classes, but {data.name} is for {data.task}", status=2)
    if model.task != data.task:
        raise QuantError(
            f"{data.name} is for {data.task}, and {model.name} was created for {model.task}: take "
            "create_model(name, **data.options)",
            status=2,
        )
    check_augmentation(config.augment, data.name, data.shape)
    check_input_shape(model, data.shape)
    if model.normalizes not in (None, data.scale is not None):
        says = ("needs a", "without") if data.scale is not None else ("has no", "with")
        raise QuantError(
            f"{data.name} {says[0]} normalization, and {model.name} was created {says[1]} one: take "
            "create_model(name, **data.options)",
            status=2,
        )
    if data.classes > model.classes:
        raise QuantError(
            f"{model.name} has {model.classes} outputs, but {data.name} has {data.classes} classes: "
            f"create the model with classes={data.classes}",
            status=2,
        )


def _class_weights(config: TrainConfig, model: Network, data: DataSet) -> torch.Tensor | None:
    """The weights of the classes in the loss, (model.classes,) float32. Raises QuantError (status 2) for another
    number of them."""
    if config.class_weights is None:
        return None
    weights = torch.ones(model.classes)
    if config.class_weights == "balanced":
        counts = torch.from_numpy(np.bincount(data.y_train, minlength=data.classes)).float()
        share = counts.sum() / (counts > 0).sum() / counts
        weights[: len(counts)] = torch.where(counts > 0, share, 1.0)
        return weights
    if len(config.class_weights) != data.classes:
        raise QuantError(
            f"{len(config.class_weights)} class_weights for the {data.classes} classes of {data.name}: give one for "
            "each, or 'balanced'",
            status=2,
        )
    weights[: data.classes] = torch.tensor(config.class_weights)
    return weights


def _check_checkpoint(path: Path, request: Mapping[str, Any], fixed: bool) -> None:
    """Raises the errors of a resumed training. The number of epochs may differ where it is not ``fixed``."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        done, saved = content["epoch"] + 1, json.loads(content["bitfabric"]["request"])
    except Exception as error:  # torch.load raises many types for a file that it did not write
        raise QuantError(f"{path} is no checkpoint of a training: remove it, or train without resume") from error
    for name, value in json.loads(json.dumps(request)).items():
        if name == "epochs" and not fixed and saved.get(name) != value:
            if value < done:
                raise QuantError(
                    f"{path} is of a training of which {done} epochs are done: give epochs of at least {done}, not "
                    f"{value}, or train without resume",
                    status=2,
                )
        elif saved.get(name) != value:
            raise QuantError(
                f"{path} is of another training, with {name}={saved.get(name)} instead of {value}: take the same, or "
                "train without resume",
                status=2,
            )
