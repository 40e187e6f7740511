"""Slimming of a trained network: a training with a penalty, and the removal of the channels that it shows."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from quant.compression.channel_lasso import slim_by_lasso
from quant.compression.criteria import SCORES, Removable, choose_channels
from quant.compression.slimming import slim
from quant.compression.weights import Layers
from quant.data import DataSet
from quant.distillation.teacher import TeacherLike
from quant.errors import QuantError
from quant.models.network import Network, model_inputs
from quant.quantizers.statistics import reestimate_batch_norm
from quant.training.config import ChannelPenalty, Slimming, TrainConfig
from quant.training.exits import exits_of
from quant.training.loop import fit
from quant.training.penalties import penalty_of


def slim_by(
    model: Network,
    data: DataSet,
    config: TrainConfig,
    fraction: float = 0.5,
    *,
    criterion: str = "l1",
    granularity: int = 0,
    strength: float = 0.0,
    mixture: float = 0.5,
    penalty_epochs: int = 10,
    frames: int = 1024,
    layers: Layers = None,
    savings: Mapping[str, float] | None = None,
    teacher: TeacherLike | Sequence[TeacherLike] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Network:
    """Returns a copy of ``model`` without ``fraction`` of its channels, or of what they save
    (``quant.compression.slim``).

    ``criterion`` is one of ``quant.compression.SCORES``, or "lasso" (``quant.compression.slim_by_lasso``). For those
    that belong to a penalty (``quant.Slimming``) the network is trained with it first, for ``penalty_epochs`` of
    ``config``, with ``teacher`` as in ``fit``; 0: the model was trained with it. ``granularity`` and ``savings`` are
    those of ``quant.compression.choose_channels``; with savings, a channel's penalty is proportional to what it saves.
    Afterwards the statistics of BatchNorm are those of the smaller network on the first ``frames`` training samples,
    which makes up for removed channels that were constants.

    Raises QuantError (status 2) for values out of range and as ``slim`` and ``fit`` do.
    """
    if criterion not in (*SCORES, "lasso"):
        raise QuantError(f"no criterion {criterion!r}: choose {', '.join(SCORES)} or lasso", status=2)
    if penalty_epochs < 0 or frames < 1 or granularity < 0:
        raise QuantError(
            f"penalty_epochs={penalty_epochs} and granularity={granularity} are from 0, frames={frames} from 1",
            status=2,
        )
    penalised = criterion in get_args(ChannelPenalty)
    if strength and not penalised:
        raise QuantError(f"criterion {criterion} has no penalty, and strength={strength} is that of one", status=2)
    if mixture != 0.5 and criterion != "neurons":
        raise QuantError(f"mixture={mixture} is for criterion neurons, not {criterion}", status=2)
    x = torch.from_numpy(model_inputs(model, data.x_train[:frames]))
    if criterion == "lasso":
        small = slim_by_lasso(model, x, fraction, granularity=granularity, savings=savings, layers=layers)
        reestimate_batch_norm(small, x.split(256))
        return small
    network = Removable.of(model, layers)
    if penalised and penalty_epochs:
        model = copy.deepcopy(model)
        patterns = None if layers is None else tuple([layers] if isinstance(layers, str) else layers)
        settings = Slimming(criterion, strength or None, mixture=mixture, layers=patterns)  # type: ignore[arg-type]
        # Early exits need a validation part for their thresholds.
        validation = config.validation if exits_of(model) else 0.0
        trained = replace(config, epochs=penalty_epochs, validation=validation, patience=None)
        penalty = penalty_of(model, settings, savings)
        fit(
            model, data, trained,
            teacher=teacher, callbacks=[penalty], checkpoint=checkpoint, resume=resume, progress=progress,
        )  # fmt: skip
        network = Removable.of(model, layers)
    keep = choose_channels(network, SCORES[criterion], fraction, granularity=granularity, savings=savings)
    small = slim(model, {name: places.tolist() for name, places in keep.items()})
    reestimate_batch_norm(small, x.split(256))
    return small
