"""What other widths of single layers cost a trained network in loss, and save on a target."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.explore.cost_table import CostTable
from flows.explore.front import front
from flows.explore.variants import Variants, variants_of
from hw.host.errors import BitfabricError, UsageError
from hw.model import Model

if TYPE_CHECKING:
    from quant.models.widths import Width

WEIGHT_WIDTHS: tuple["Width", ...] = (1, 2, 3, 4, 6, 8)
ACTIVATION_WIDTHS = (2, 3, 4, 6, 8)
LAST_FRAMES = 2000
"""Training frames that are measured where the run held none out."""


def sensitivity(
    run: str | os.PathLike[str],
    target: str,
    *,
    fps: float | None = None,
    clock_mhz: float | None = None,
    weight_widths: Sequence["Width"] = WEIGHT_WIDTHS,
    activation_widths: Sequence[int] = ACTIVATION_WIDTHS,
    by: Literal["loss", "curvature"] = "loss",
    data: str | None = None,
) -> dict[str, Any]:
    """The effect of each width of each layer of a trained network, its cost on a target, and the front of both.

    ``run`` is a folder that ``quant.train_run`` left. Frames are those that the training held out (``validation``), or
    else the last of the training set, which the network has learned; test frames are never used. ``fps``: None: the
    rate that ``bitfabric estimate`` chooses for the network as it is, or that of its smallest folding where it does not
    fit. ``clock_mhz``: None: the target's. ``by``: what the front adds up over layers, the measured growth of the loss,
    or the one predicted from its curvature. ``data``: the place of the data where it is another now.

    Returns ``frames`` (their number) and ``held_out``, ``loss`` and ``accuracy`` of the network, ``effects`` (a list of
    ``quant.compression.WidthEffect`` with the ``cost`` of the network with this one change), ``front`` (a list of
    ``flows.explore.front.Point``), ``fps``, ``entries`` (the kernels that were costed), and ``lowerings`` (1).

    Raises UsageError for a folder without a quantized network, and what the parts raise.
    """
    import torch

    from quant.compression.width_sensitivity import width_sensitivity
    from quant.models.network import model_inputs
    from quant.training.checkpoint import load_checkpoint
    from quant.training.run_folder import read_run

    folder = Path(run)
    if not (folder / "metrics.json").is_file() or not (folder / "model.onnx").is_file():
        raise UsageError(f"{folder} is no run of a quantized network: give a folder that bitfabric train left")
    metrics = read_run(folder, ("task", "config", "dataset"))
    if metrics["task"] != "classification":
        raise UsageError(f"{folder} has a network for {metrics['task']}, and sensitivity is measured on classes")
    model = load_checkpoint(folder / "checkpoint.pt")
    x, y, held_out = _frames(metrics, data)
    measured = width_sensitivity(
        model, torch.from_numpy(model_inputs(model, x)), torch.tensor(y), weight_widths, activation_widths
    )  # fmt: skip
    graph = Model.open(folder / "model.onnx").graph
    variants = variants_of(model, graph)
    if fps is None:
        from flows.estimates import estimate_build

        try:
            fps = float(estimate_build(folder / "model.onnx", target, clock_mhz=clock_mhz)["fps"])
        except BitfabricError:  # it does not fit as it is
            fps = CostTable(target, None, clock_mhz).cost(variants.graph()).fps
    table = CostTable(target, fps, clock_mhz)
    now = table.cost(variants.graph())
    effects = []
    widths: dict[str, list[Width]] = {}
    loss: dict[tuple[str, Width], float] = {}
    for each in measured.effects:
        widths.setdefault(each.name, []).append(each.width)
        loss[each.name, each.width] = each.predicted if by == "curvature" else each.loss
        cost = now if each.present else table.cost(_with(variants, each.name, each.width))
        effects.append({**vars(each), "cost": cost.to_json()})
    points = front(variants, table, widths, loss)
    return {
        "run": str(folder),
        "target": target,
        "fps": fps,
        "by": by,
        "frames": measured.frames,
        "held_out": held_out,
        "loss": measured.loss,
        "accuracy": measured.accuracy,
        "cost": now.to_json(),
        "effects": effects,
        "front": [point.to_json() for point in points],
        "entries": len(table),
        "lowerings": 1,
    }


def _with(variants: Variants, name: str, width: "Width") -> Any:
    if name in variants.layers:
        return variants.graph(weights={name: width})
    return variants.graph(activations={name: int(width)})


def _frames(metrics: dict[str, Any], data: str | None) -> tuple[Any, Any, bool]:
    """Frames and labels that a training held out, or else the last of its training set; and which of the two."""
    from quant import TrainConfig
    from quant.data import load_data, stratified

    config, source = metrics["config"], metrics["dataset"]
    drawn_by = TrainConfig.from_dict(config).drawn_by
    dataset = load_data(data or source["source"], drawn_by, **source["options"])
    if config["validation"]:
        apart = stratified(dataset.y_train, config["validation"], config["seed"])
        return dataset.x_train[apart], dataset.y_train[apart], True
    return dataset.x_train[-LAST_FRAMES:], dataset.y_train[-LAST_FRAMES:], False
