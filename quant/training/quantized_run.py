"""Post-training quantization of a float network on a data set, training from there, and a run folder.

Light to import: torch, Brevitas and Lightning are imported only if there is something to do.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quant.data import DataSet, load_data
from quant.data.dataset import data_hash
from quant.distillation.settings import Distillation
from quant.errors import QuantError
from quant.models.source import find_source, is_own
from quant.training.config import TrainConfig
from quant.training.run_folder import produce, read_run, write_network

__all__ = ["quantize_run"]


def quantize_run(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    data_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    epochs: int = 0,
    learning_rate: float | tuple[float, float] | None = None,
    seed: int | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Quantizes a float network of PyTorch by ``quant.quantize``, and writes a run folder ``out`` with ``model.onnx``.

    ``model`` is the run folder of a float network (``train_run``), or ``module.py:function``: a function of your own
    that returns a trained network; the file is run. ``data`` are the frames as ``train_run`` has them, with
    ``data_options``; a run has its own, and ``data`` is their place where it is another now. Up to 1,024 frames of the
    training set calibrate; the test set is only measured on.

    ``options`` are those of ``quantize`` (``weight_bits``, ``scales``, ...). The quantized network is trained for
    ``epochs`` further, at ``learning_rate`` (default: from 2e-4 to 1e-6). ``seed`` draws the test set, where the data
    have none, and the order of the training (default: 0); a run has its own.

    Returns the content of ``metrics.json`` (see ``train_run``), with ``quantization``: ``options``, ``source``, and
    what ``Quantization.as_dict`` has, measured before the training. There is no ``checkpoint.pt``: the network that
    ``quantize`` makes is not one of ``create_model``, so ``compress`` and ``--start`` do not take the folder.

    Raises QuantError (status 2) for a run that is quantized, without its data or with changed ones, for an own network
    without ``data``, and as ``quantize``, ``fit`` and ``export`` do.
    """
    settings = dict(options or {})
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise QuantError(f"epochs={epochs!r} is no whole number of 0 or more", status=2)
    origin = _own(os.fspath(model), data) if is_own(os.fspath(model)) else _run(Path(model), data_options, seed)
    config = replace(
        origin["config"], epochs=max(1, epochs), learning_rate=learning_rate, prune=None, distill=Distillation()
    )
    config = replace(config, slimming=None, tie=None, seed=origin["config"].seed if seed is None else seed)
    place = origin["data"] if data is None else data
    loading = origin["data_options"] if data_options is None else dict(data_options)
    dataset = load_data(place, config.seed, **loading)
    hashed = data_hash(dataset)
    if origin["sha256"] not in (None, hashed):
        raise QuantError(
            f"{place} has changed since {model} was trained on it: give the same data (--data), or train again",
            status=2,
        )
    if Path(out).resolve() == Path(model).resolve():
        raise QuantError(f"{out} is the run to quantize: choose another folder (-o)", status=2)
    request: dict[str, Any] = {
        "model": origin["name"],
        "source": origin["source"],
        "model_options": {},
        "scheme_options": {},
        "teacher": None,
        "config": config.to_dict(),
        "dataset": {"source": os.fspath(place), "options": loading, "sha256": hashed},
        "quantization": {
            "options": settings,
            "epochs": epochs,
            "path": origin["path"],
            "checkpoint": origin["checkpoint"],
        },
    }

    def make(work: Path, checkpoint: Path, _key: str) -> dict[str, Any]:
        return _quantize(origin, dataset, settings, config if epochs else None, work, checkpoint, request, progress)

    return produce(Path(out), request, dataset, make)


def _own(name: str, data: Any) -> dict[str, Any]:
    source = find_source(name)
    if data is None:
        raise QuantError(f"{name} is your own network: give the data that it is for (--data)", status=2)
    return {
        "name": source.name,
        "source": source.describe(),
        "config": TrainConfig(),
        "data": data,
        "data_options": {},
        "sha256": None,
        "path": None,
        "checkpoint": None,
    }


def _run(folder: Path, data_options: Mapping[str, Any] | None, seed: int | None) -> dict[str, Any]:
    before = read_run(folder, ("model", "scheme", "config", "dataset"))
    if before["scheme"]["name"] != "float":
        raise QuantError(
            f"{folder} is quantized already, by the scheme {before['scheme']['name']}: give a run of a float network "
            "(bitfabric train lenet5-float)",
            status=2,
        )
    if data_options:
        raise QuantError(f"{folder} has its own data options, {before['dataset']['options']}: leave them out", status=2)
    if seed is not None:
        raise QuantError(f"{folder} has its own seed, {before['config']['seed']}: leave it out", status=2)
    return {
        "name": before["model"],
        "source": before.get("source"),
        "config": TrainConfig.from_dict(before["config"]),
        "data": before["dataset"]["source"],
        "data_options": before["dataset"]["options"],
        "sha256": before["dataset"]["sha256"],
        "path": str(folder),
        "checkpoint": before["files"]["checkpoint.pt"],
    }


def _quantize(
    origin: Mapping[str, Any],
    dataset: DataSet,
    settings: Mapping[str, Any],
    config: TrainConfig | None,
    work: Path,
    checkpoint: Path,
    request: Mapping[str, Any],
    progress: bool | None,
) -> dict[str, Any]:
    """Returns the measurements for ``metrics.json``; writes the other files to ``work``."""
    import torch

    from quant.post_training.quantize import quantize
    from quant.training.loop import fit

    with torch.random.fork_rng():
        torch.manual_seed(int(request["config"]["seed"]))
        made = quantize(_network(origin, dataset), dataset, **settings)
        if origin["path"] is None:
            made.model.name = Path(origin["name"]).name
            made.model.class_names, made.model.feature_names = dataset.class_names, dataset.feature_names
        costs = made.as_dict()
        result = None if config is None else fit(made.model, dataset, config, checkpoint=checkpoint, progress=progress)
    measured = write_network(made.model, result, dataset, work)
    return {**measured, "quantization": {**request["quantization"], **costs}}


def _network(origin: Mapping[str, Any], dataset: DataSet) -> Any:
    """The float network. One of a user's own takes the data's own values, whether a training would normalize them."""
    if origin["path"] is not None:
        from quant.training.checkpoint import load_checkpoint

        return load_checkpoint(Path(origin["path"]) / "checkpoint.pt")
    from quant import schemes
    from quant.models.own import OwnNetwork, own_network

    if dataset.task != "classification":
        raise QuantError(
            f"{origin['name']} is for {dataset.task}: call quant.quantize, or train it here (bitfabric train) first",
            status=2,
        )
    facts = {name: dataset.options[name] for name in ("input_shape", "classes", "in_range")}
    network = own_network(find_source(origin["name"]), schemes.get("own"), facts)
    if network.scheme.quantizes:
        raise QuantError(
            f"{origin['name']} has quantizers already: export it (quant.export), or train it (bitfabric train)",
            status=2,
        )
    return network.net.eval() if isinstance(network, OwnNetwork) else network.eval()
