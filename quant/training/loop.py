"""The training loop, on Lightning."""

import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.nn import functional

from quant.data import DataSet, load_data, stratified
from quant.errors import QuantError
from quant.metrics import accuracy, summary
from quant.models.network import Network, check_input_shape
from quant.training.batches import AUGMENTATIONS, Batches
from quant.training.callbacks import Bar, KeepBest, KeepCheckpoint
from quant.training.distillation import Teacher, distillation_loss
from quant.training.training import LOSSES, Epoch, Training, hand_out

# Multiply-adds of one forward step below which threads cost more than they bring (a busy machine: ten times more).
SMALL = 3e7


@dataclass(frozen=True)
class FitResult:
    """What a training did. Accuracies are fractions of 1; ``epoch`` is the epoch whose parameters the model now has.

    ``epochs`` are those that were asked for; ``history`` has the ones that were done.
    """

    train_accuracy: float
    test_accuracy: float
    validation_accuracy: float | None
    epoch: int
    epochs: int
    seconds: float
    loss: str
    learning_rate: tuple[float, float]
    batch_size: int
    seed: int
    history: list[Epoch]


def fit(
    model: Network,
    data: DataSet | str = "digits",
    epochs: int = 100,
    seed: int = 0,
    *,
    batch_size: int = 100,
    learning_rate: tuple[float, float] | None = None,
    loss: str | None = None,
    label_smoothing: float = 0.0,
    augment: str | None = None,
    validation: float = 0.0,
    patience: int | None = None,
    teacher: Network | str | os.PathLike[str] | None = None,
    temperature: float = 4.0,
    distill_weight: float = 1.0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
    trainer: Mapping[str, Any] | None = None,
) -> FitResult:
    """Trains ``model`` in place and measures it.

    The learning rate falls from ``learning_rate[0]`` to ``learning_rate[1]`` along half a cosine, epoch by
    epoch; the scheme's rules apply (its optimizer, weight clip, Glorot-scaled rates), and its loss and rates where
    none are given. ``loss`` is "cross_entropy", which may have ``label_smoothing`` (0 to below 1), or
    "squared_hinge". ``augment`` changes training images at random: "shift" (by up to a sixteenth of the sides) or
    "flip-crop" (that, and half of them mirrored).

    ``validation`` sets that fraction of the training set apart and keeps the epoch that is best on it; 0 trains on
    everything and keeps the last epoch. ``patience`` ends a training that has not been better there for so many epochs.
    The test set is only measured, once, at the end.

    ``teacher``, a trained network, float or quantized, or the run folder that holds one, adds ``distill_weight * T**2 *
    KL(teacher || student)`` of softmax outputs at ``temperature`` T to the loss (``quant.training.distillation``).

    ``checkpoint`` names a folder for the state of an unfinished training (``last.ckpt``, after an epoch, at most a
    fiftieth of the time); ``resume=True`` goes on from it, if it is there, to the very result of an uninterrupted
    training.

    ``seed`` fixes the order of the data (and the digits' split); equal seeds give equal results on the same CPU.
    ``progress``: a bar on standard error or in the notebook; None shows it where somebody can see it.

    ``trainer``: further arguments of ``lightning.Trainer``; by default one GPU where there is one. ``{"devices": 4,
    "num_nodes": 2, "strategy": "ddp"}`` trains on eight: every process runs the script, takes its share of each batch
    of ``batch_size``, and returns the same result.

    Raises QuantError (status 2) for a bad argument, data or a teacher that do not fit the model, and a checkpoint of
    another training; KeyboardInterrupt on Ctrl-C.
    """
    start = time.perf_counter()
    if isinstance(data, str):
        data = load_data(data, seed)
    loss = model.scheme.loss if loss is None else loss
    rates = model.scheme.learning_rate if learning_rate is None else (learning_rate[0], learning_rate[1])
    _check_arguments(model, data, epochs, batch_size, validation, patience, loss, label_smoothing, augment)
    loss_function = LOSSES[loss]
    if label_smoothing:
        loss_function = partial(functional.cross_entropy, label_smoothing=label_smoothing)
    tutor = None if teacher is None else Teacher(teacher, model)
    request = {
        "model": model.name, "scheme": model.scheme.describe(), "options": model.options, "data": data.name,
        "epochs": epochs, "seed": seed, "batch_size": batch_size, "learning_rate": rates, "loss": loss,
        "label_smoothing": label_smoothing, "augment": augment, "validation": validation, "patience": patience,
        "teacher": tutor and tutor.network.name, "temperature": temperature, "distill_weight": distill_weight,
    }  # fmt: skip
    kept = None if checkpoint is None else KeepCheckpoint(Path(checkpoint))
    if resume and kept is None:
        raise QuantError("resume=True needs checkpoint, the folder to go on from", status=2)
    resumed = resume and kept is not None and kept.path.is_file()
    if resumed:
        _check_checkpoint(kept.path, request)  # type: ignore[union-attr]

    work = batch_size * summary(model).macs
    apart = torch.from_numpy(stratified(data.y_train, validation, seed))
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)  # copies, as the arrays may be read-only
    best = KeepBest(_inputs(model, x[apart]), y[apart], patience) if validation else None
    bar = Bar(model.name, epochs)
    shown = bar if (bar.visible if progress is None else progress) else None
    callbacks: list[Callback] = [callback for callback in (best, shown, kept) if callback is not None]
    with _quiet_lightning(), torch.random.fork_rng(), _threads(1 if work < SMALL else torch.get_num_threads()):
        runner = _trainer(epochs, callbacks, trainer or {})
        rank, processes, device = runner.global_rank, runner.world_size, runner.strategy.root_device
        if batch_size % processes:
            raise QuantError(
                f"batch_size={batch_size} cannot be shared by {processes} processes: take a multiple", status=2
            )
        x, y, apart = x.to(device), y.to(device), apart.to(device)
        if best is not None:
            best.x, best.y = best.x.to(device), best.y.to(device)
        batches = Batches(
            x[~apart], y[~apart], batch_size,
            shape=model.input_shape, seed=seed, augment=augment, rank=rank, processes=processes,
        )  # fmt: skip
        teach = None
        if tutor is not None:
            tutor.network.to(device)

            def teach(logits: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
                return distill_weight * distillation_loss(logits, tutor(inputs), temperature)

        torch.manual_seed(seed + rank)
        training = Training(model, loss_function, rates, epochs, batches, request, teach, best)
        _run(runner, training, batches, kept.path if resumed else None)  # type: ignore[union-attr]
    if best is not None:
        model.load_state_dict(best.state)
    model.to(device)
    if processes > 1:
        hand_out(list(model.state_dict().values()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = Batches(x[~apart], y[~apart], batch_size, shape=model.input_shape, seed=seed)
        model.scheme.finish(model, (inputs for inputs, _ in plain))
    model.eval()
    seconds = time.perf_counter() - start
    x_test, y_test = (torch.tensor(a, device=device) for a in (data.x_test, data.y_test))
    return FitResult(
        train_accuracy=accuracy(model, _inputs(model, x), y),
        test_accuracy=accuracy(model, _inputs(model, x_test), y_test),
        validation_accuracy=None if best is None else best.accuracy,
        epoch=len(training.history) if best is None else best.epoch,
        epochs=epochs,
        seconds=seconds,
        loss=loss,
        learning_rate=rates,
        batch_size=batch_size,
        seed=seed,
        history=training.history,
    )


def _inputs(model: Network, x: torch.Tensor) -> torch.Tensor:
    return x.reshape(len(x), *model.input_shape)


def _check_arguments(
    model: Network,
    data: DataSet,
    epochs: int,
    batch_size: int,
    validation: float,
    patience: int | None,
    loss: str,
    label_smoothing: float,
    augment: str | None,
) -> None:
    def wrong(message: str) -> QuantError:
        return QuantError(message, status=2)

    if epochs < 1 or batch_size < 2 or not 0 <= validation < 1:
        raise wrong(
            f"epochs={epochs} (at least 1), batch_size={batch_size} (at least 2) or validation={validation} (from 0 "
            "to below 1) is out of its range"
        )
    if loss not in LOSSES:
        raise wrong(f"no loss {loss!r}: choose {' or '.join(LOSSES)}")
    if not 0 <= label_smoothing < 1 or (label_smoothing and loss != "cross_entropy"):
        raise wrong(f"label_smoothing={label_smoothing} must be from 0 to below 1, and only cross_entropy has it")
    if patience is not None and (patience < 1 or not validation):
        raise wrong(f"patience={patience} must be at least 1 and needs a validation part, as validation=0.1")
    if augment is not None and augment not in AUGMENTATIONS:
        raise wrong(f"no augmentation {augment!r}: choose {' or '.join(AUGMENTATIONS)}")
    if augment is not None and len(data.shape) != 3:
        raise wrong(f"augment={augment!r} is for images, but {data.name} has inputs of shape {data.shape}")
    check_input_shape(model, data.shape)
    if data.classes > model.classes:
        raise wrong(
            f"{model.name} has {model.classes} outputs, but {data.name} has {data.classes} classes: "
            f"create the model with classes={data.classes}"
        )


def _check_checkpoint(path: Path, request: Mapping[str, Any]) -> None:
    try:
        saved = json.loads(torch.load(path, map_location="cpu", weights_only=True)["bitfabric"]["request"])
    except Exception as error:  # torch.load raises a dozen types for a file that is not its own
        raise QuantError(f"{path} is no checkpoint of a training: remove it, or train without resume") from error
    for name, value in json.loads(json.dumps(request)).items():
        if saved.get(name) != value:
            raise QuantError(
                f"{path} is of another training, with {name}={saved.get(name)} instead of {value}: take the same, or "
                "train without resume",
                status=2,
            )


def _trainer(epochs: int, callbacks: list[Callback], settings: Mapping[str, Any]) -> lightning.Trainer:
    defaults = {"accelerator": "gpu" if torch.cuda.is_available() else "cpu", "devices": 1}
    try:
        runner = lightning.Trainer(
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,
            # Lightning's name for its own; ours is among the callbacks.
            enable_checkpointing=any(isinstance(callback, KeepCheckpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            **{**defaults, **settings},
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise QuantError(f"Lightning refuses trainer={dict(settings)}: {error}", status=2) from error
    if isinstance(runner.strategy.launcher, _MultiProcessingLauncher):
        raise QuantError(
            "strategies that fork or spawn processes leave the trained network behind in them: use strategy='ddp' in a "
            "script, or one device in a notebook",
            status=2,
        )
    return runner


def _run(runner: lightning.Trainer, training: Training, batches: Batches, resumed: Path | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        runner.fit(training, train_dataloaders=batches, ckpt_path=resumed)
    except SIGTERMException:  # an exit, too, and to be one
        raise
    except SystemExit:
        # Lightning turns Ctrl-C into an exit with SIGINT ignored; give both back to the caller.
        if not runner.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    previous = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's banner, tips and advice."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
