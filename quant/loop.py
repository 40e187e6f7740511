"""The training loop, on Lightning, and the training rules of the schemes."""

import logging
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.nn import functional

from quant.data import DataSet, load_data, stratified
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.models.network import Network
from quant.schemes.scheme import Scheme


def squared_hinge(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of ``max(0, 1 - t * logit)**2`` over (N, classes), t = +1 for the label's class and -1 for the others."""
    targets = 2.0 * functional.one_hot(labels, logits.shape[1]) - 1.0
    return torch.clamp(1.0 - targets * logits, min=0).square().mean()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "squared_hinge": squared_hinge,
}


def glorot_factor(weight: torch.Tensor) -> float:
    """BinaryConnect's learning-rate factor of a weight (out, in, *kernel): ``1 / sqrt(1.5 / (fan_in + fan_out))``."""
    receptive = math.prod(weight.shape[2:])
    return 1.0 / math.sqrt(1.5 / ((weight.shape[0] + weight.shape[1]) * receptive))


def scheme_layers(model: torch.nn.Module) -> dict[Scheme, list[Any]]:
    """The linear and convolution layers of each scheme in the model, in order."""
    found: dict[Scheme, list[Any]] = {}
    for module in model.modules():
        if isinstance(module, QuantWeightBiasInputOutputLayer):
            found.setdefault(module.scheme, []).append(module)
    return found


def parameter_groups(model: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
    """Optimizer groups: where a layer's scheme asks for it its weight has its own, Glorot-scaled, rate."""
    scaled = [layer.weight for scheme, layers in scheme_layers(model).items() if scheme.glorot_lr for layer in layers]
    groups = [{"params": [w], "lr": learning_rate * glorot_factor(w)} for w in scaled]
    apart = {id(w) for w in scaled}
    groups.append({"params": [p for p in model.parameters() if id(p) not in apart], "lr": learning_rate})
    return groups


# Multiply-adds of one forward step below which threads cost more than they bring (a busy machine: ten times more).
SMALL = 3e7


class Batches:
    """Batches of whole tensors in memory, in a new order each time; much faster here than a DataLoader's workers.

    The last, incomplete batch is left out (BatchNorm's statistics want equal batches), unless it is the only one.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, size: int, shuffle: bool = True) -> None:
        self.x, self.y, self.size, self.shuffle = x, y, min(size, len(x)), shuffle

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        for chosen in order[: len(self) * self.size].split(self.size):
            yield self.x[chosen], self.y[chosen]


class _Training(lightning.LightningModule):
    """One model's training step, optimizer, schedule and weight clipping."""

    def __init__(self, model: Network, loss: str, rates: tuple[float, float], epochs: int) -> None:
        super().__init__()
        self.model, self.rates, self.epochs = model, rates, epochs
        self.loss_function = LOSSES[loss]
        self.schemes = scheme_layers(model)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, y = batch
        return self.loss_function(self.model(x), y)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for scheme, layers in self.schemes.items():
            scheme.before_step(layers, optimizer)

    def on_train_batch_end(self, *_: Any) -> None:
        for scheme, layers in self.schemes.items():
            scheme.after_step(layers, self.trainer.optimizers[0])

    def configure_optimizers(self) -> Any:
        first, last = self.rates
        optimizer = self.model.scheme.optimizer(parameter_groups(self.model, first))

        def factor(epoch: int) -> float:
            done = min(1.0, epoch / max(1, self.epochs - 1))
            return (last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * done))) / first

        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, factor)]


class _Bar(Callback):
    """One progress line on the terminal's standard error."""

    def __init__(self, model: Network, epochs: int) -> None:
        self.progress = Progress(
            TextColumn(f"training {model.name}"),
            BarColumn(),
            TextColumn(f"epoch {{task.fields[epoch]}}/{epochs}  loss {{task.fields[loss]:.4f}}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.epochs = epochs
        self.task = self.progress.add_task("", total=None, epoch=0, loss=0.0)

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        self.progress.update(self.task, total=self.epochs * trainer.num_training_batches)
        self.progress.start()

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        self.progress.advance(self.task)
        if trainer.is_last_batch:
            self.progress.update(self.task, epoch=trainer.current_epoch + 1, loss=float(outputs["loss"]))

    def teardown(self, *_: Any, **__: Any) -> None:
        self.progress.stop()


class _KeepBest(Callback):
    """Keeps the parameters of the epoch that was best on the validation part (of equals the latest)."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y
        self.accuracy, self.epoch, self.state = -1.0, 0, {}  # type: ignore[var-annotated]

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        reached = accuracy(module.model, self.x, self.y)
        if reached >= self.accuracy:
            self.accuracy, self.epoch = reached, trainer.current_epoch + 1
            self.state = {name: value.detach().clone() for name, value in module.model.state_dict().items()}


@dataclass(frozen=True)
class FitResult:
    """What a training did. Accuracies are fractions of 1; ``epoch`` is the epoch whose parameters the model now has."""

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


def model_inputs(model: Network, images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) in the model's own layout, (N, *input_shape) float32; QuantError if they do not fit."""
    if math.prod(images.shape[1:]) != math.prod(model.input_shape):
        raise QuantError(
            f"{model.name} takes inputs of shape {model.input_shape}, but the images are {images.shape[1:]}: "
            f"create the model with input_shape={images.shape[1:]}",
            status=2,
        )
    return images.reshape(len(images), *model.input_shape).astype(np.float32)


def fit(
    model: Network,
    data: DataSet | str = "digits",
    epochs: int = 100,
    seed: int = 0,
    *,
    batch_size: int = 100,
    learning_rate: tuple[float, float] | None = None,
    loss: str | None = None,
    validation: float = 0.0,
    progress: bool | None = None,
    trainer: Mapping[str, Any] | None = None,
) -> FitResult:
    """Trains ``model`` in place and measures it.

    Adam; the learning rate falls from ``learning_rate[0]`` to ``learning_rate[1]`` along half a cosine, epoch by
    epoch; the scheme's rules (weight clip, Glorot-scaled rates) apply, and its loss and rates where none are given.
    ``validation`` sets that fraction of the training set apart and keeps the epoch that is best on it; 0 trains on
    everything and keeps the last epoch. The test set is only measured, once, at the end.

    ``seed`` fixes the order of the data (and the digits' split); equal seeds give equal results on the same CPU.
    ``progress``: a bar on standard error; None shows it on a terminal. ``trainer``: further arguments of
    ``lightning.Trainer``, as ``{"accelerator": "cpu"}``; by default one GPU where there is one.

    Raises QuantError (status 2) for a bad argument or data that do not fit the model, KeyboardInterrupt on Ctrl-C.
    """
    if isinstance(data, str):
        data = load_data(data, seed)
    if epochs < 1 or batch_size < 2 or not 0 <= validation < 1:
        raise QuantError(
            f"epochs={epochs} (at least 1), batch_size={batch_size} (at least 2) or validation={validation} (from 0 "
            "to below 1) is out of its range",
            status=2,
        )
    loss = model.scheme.loss if loss is None else loss
    if loss not in LOSSES:
        raise QuantError(f"no loss {loss!r}: choose {' or '.join(LOSSES)}", status=2)
    if data.classes > model.classes:
        raise QuantError(
            f"{model.name} has {model.classes} outputs, but {data.name} has {data.classes} classes: "
            f"create the model with classes={data.classes}",
            status=2,
        )
    rates = model.scheme.learning_rate if learning_rate is None else learning_rate
    settings = {"accelerator": "gpu" if torch.cuda.is_available() else "cpu", "devices": 1, **(trainer or {})}
    device = torch.device("cuda" if settings["accelerator"] in ("gpu", "cuda") else "cpu")
    x, y = (torch.from_numpy(a).to(device) for a in (model_inputs(model, data.x_train), data.y_train))
    apart = torch.from_numpy(stratified(data.y_train, validation, seed)).to(device)
    callbacks: list[Callback] = []
    best = _KeepBest(x[apart], y[apart]) if validation else None
    if best is not None:
        callbacks.append(best)
    if sys.stderr.isatty() if progress is None else progress:
        callbacks.append(_Bar(model, epochs))
    start = time.perf_counter()
    work = batch_size * sum(layer.weight.numel() for layers in scheme_layers(model).values() for layer in layers)
    with _quiet_lightning(), torch.random.fork_rng(), _threads(1 if work < SMALL else torch.get_num_threads()):
        torch.manual_seed(seed)
        runner = lightning.Trainer(
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        _run(runner, _Training(model, loss, rates, epochs), Batches(x[~apart], y[~apart], batch_size))
    if best is not None:
        model.load_state_dict(best.state)
    model.to(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.scheme.finish(model, (inputs for inputs, _ in Batches(x[~apart], y[~apart], batch_size)))
    model.eval()
    seconds = time.perf_counter() - start
    x_test, y_test = (torch.from_numpy(a).to(device) for a in (model_inputs(model, data.x_test), data.y_test))
    return FitResult(
        train_accuracy=accuracy(model, x, y),
        test_accuracy=accuracy(model, x_test, y_test),
        validation_accuracy=None if best is None else best.accuracy,
        epoch=epochs if best is None else best.epoch,
        epochs=epochs,
        seconds=seconds,
        loss=loss,
        learning_rate=rates,
        batch_size=batch_size,
        seed=seed,
    )


def _run(runner: lightning.Trainer, training: _Training, batches: Batches) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        runner.fit(training, train_dataloaders=batches)
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
