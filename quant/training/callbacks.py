"""Lightning callbacks of a training: the progress bar, the best epoch, checkpoints."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from quant.files import using
from quant.metrics import accuracy


class Bar(Callback):
    """One progress line on standard error, or below a notebook cell."""

    def __init__(self, name: str, epochs: int) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("training {task.fields[name]}", markup=False),
            BarColumn(),
            TextColumn(f"epoch {{task.fields[epoch]}}/{epochs}  loss {{task.fields[loss]:.4f}}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.epochs = epochs
        self.task = self.progress.add_task("", total=None, name=name, epoch=0, loss=0.0)
        self.cell: Any = None

    @property
    def visible(self) -> bool:
        """Whether the output is a terminal or a notebook."""
        return self.console.is_terminal or self.console.is_jupyter

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        batches = trainer.num_training_batches
        self.progress.update(
            self.task,
            total=self.epochs * batches,
            completed=trainer.current_epoch * batches,
            epoch=trainer.current_epoch,
        )
        if not trainer.is_global_zero:
            self.progress.disable = True
        elif self.console.is_jupyter:
            # rich's own notebook display needs ipywidgets and is not stored in a saved notebook.
            from IPython.display import display

            self.cell = display(self._line(), display_id=True)
        else:
            self.progress.start()

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        self.progress.advance(self.task)
        if trainer.is_last_batch:
            self.progress.update(self.task, epoch=trainer.current_epoch + 1, loss=float(outputs["loss"]))
            if self.cell is not None:
                self.cell.update(self._line())

    def _line(self) -> Any:
        return self.progress.make_tasks_table(self.progress.tasks)

    def on_exception(self, *_: Any) -> None:
        """Restores the terminal's line and cursor."""
        self.teardown()

    def teardown(self, *_: Any, **__: Any) -> None:
        if self.cell is None:
            self.progress.stop()


class KeepBest(Callback):
    """Keeps the parameters of the epoch with the best ``quality`` on the validation part (the latest of equals).

    Ends the training after ``patience`` epochs without an improvement (None: never). Epochs that end before the step
    ``first`` do not count: their weights are not pruned yet.
    """

    quality: Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], float] = staticmethod(accuracy)

    def __init__(self, x: torch.Tensor, y: torch.Tensor, patience: int | None) -> None:
        self.x, self.y, self.patience, self.first = x, y, patience, 0
        self.accuracy, self.epoch, self.latest = -math.inf, 0, 0.0
        self.state: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        self._stop_if_hopeless(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        # Processes that train together must all follow the decision of the first.
        self.latest = trainer.strategy.broadcast(self.quality(module.model, self.x, self.y))
        if self.latest >= self.accuracy and trainer.global_step >= self.first:
            self.accuracy, self.epoch = self.latest, trainer.current_epoch + 1
            self.state = {name: value.detach().clone() for name, value in module.model.state_dict().items()}
        self._stop_if_hopeless(trainer, trainer.current_epoch + 1)

    def _stop_if_hopeless(self, trainer: Any, done: int) -> None:
        if self.patience is not None and self.state and done - self.epoch >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "epoch": self.epoch, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.accuracy, self.epoch, self.state = state["accuracy"], state["epoch"], state["state"]


class KeepCheckpoint(Checkpoint):
    """Saves the complete training state after an epoch, as ``last.ckpt`` in a folder.

    It is saved after every epoch, unless that would take more than a fiftieth of the time, and always after the last
    epoch.
    """

    interval = 50.0  # minimum time between two checkpoints, as a multiple of the time to write one

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self._took, self._saved = 0.0, 0.0

    def on_train_epoch_end(self, trainer: Any, _module: Any) -> None:
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        start = time.perf_counter()
        if trainer.strategy.broadcast(last or start - self._saved >= self.interval * self._took):
            with using(self.path, "choose another folder"):
                trainer.save_checkpoint(self.path.with_name("next.ckpt"))
                if trainer.is_global_zero:
                    os.replace(self.path.with_name("next.ckpt"), self.path)
            self._saved = time.perf_counter()
            self._took = self._saved - start
