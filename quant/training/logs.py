"""Loggers of a training: the figures of each epoch in Lightning's formats."""

import importlib.util
import os
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from quant.errors import QuantError
from quant.training.config import Log


def make_logger(kind: Log | None, folder: str | os.PathLike[str]) -> Logger | None:
    """Returns a logger into ``folder``: ``metrics.csv``, or TensorBoard's event files; None for no log.

    Raises QuantError where TensorBoard is not installed.
    """
    if kind is None:
        return None
    place = Path(folder)
    if kind == "csv":
        return CSVLogger(place.parent, place.name, version="")
    if not any(importlib.util.find_spec(package) for package in ("tensorboard", "tensorboardX")):
        raise QuantError(
            "log=tensorboard needs TensorBoard, which is not installed: run pip install 'bitfabric[tensorboard]', or "
            "take log=csv",
            status=2,
        )
    return TensorBoardLogger(place.parent, place.name, version="")
