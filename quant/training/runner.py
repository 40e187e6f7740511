"""Lightning's trainer: made from the options of a training, run, and kept quiet."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from quant.errors import QuantError
from quant.training.batches import Batches
from quant.training.callbacks import KeepCheckpoint
from quant.training.config import TrainerOptions
from quant.training.lightning_module import Training


def trainer(
    epochs: int, callbacks: list[Callback], options: TrainerOptions, logger: Logger | None
) -> lightning.Trainer:
    """Lightning's trainer for so many epochs. Raises QuantError (status 2) for ``options`` that it refuses."""
    settings: dict[str, Any] = {"accelerator": "gpu" if torch.cuda.is_available() else "cpu", "devices": 1}
    try:
        made = lightning.Trainer(
            max_epochs=epochs,
            callbacks=callbacks,
            logger=logger or False,
            # Must be True if any checkpoint callback is present.
            enable_checkpointing=any(isinstance(callback, KeepCheckpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings | options.chosen(),
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise QuantError(f"Lightning refuses trainer={options.chosen()}: {error}", status=2) from error
    if isinstance(made.strategy.launcher, _MultiProcessingLauncher):
        raise QuantError(
            "strategies that fork or spawn processes leave the trained network behind in them: use strategy='ddp' in a "
            "script, or one device in a notebook",
            status=2,
        )
    return made


def run(trainer: lightning.Trainer, training: Training, batches: Batches, resumed: Path | None) -> None:
    """Train, from the checkpoint ``resumed`` on if there is one. An interrupt raises KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(training, train_dataloaders=batches, ckpt_path=resumed)
    except SIGTERMException:  # a subclass of SystemExit that must propagate
        raise
    except SystemExit:
        # On Ctrl-C Lightning ignores SIGINT and exits; restore the handler and raise KeyboardInterrupt instead.
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Context in which PyTorch has so many threads."""
    previous = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


@contextmanager
def quiet() -> Iterator[None]:
    """Context that suppresses Lightning's banner, tips and warnings."""
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
