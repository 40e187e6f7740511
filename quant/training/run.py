"""The training of a network by name, with its results in a run folder.

Light to import: torch, Brevitas and Lightning (``quant.training.loop``) are imported only if a training is necessary.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.cost import CostModel
from quant.data import NAMES, DataSet, load_data
from quant.data.dataset import data_hash
from quant.errors import QuantWarning
from quant.files import sha256
from quant.models.source import find_source, is_own
from quant.training.checkpoint import checkpoint_file
from quant.training.config import TrainConfig
from quant.training.config_file import CONFIG, write_config
from quant.training.run_folder import produce, write_network

if TYPE_CHECKING:
    from quant.models.network import Network

Option = bool | int | float | str | None | Sequence[bool | int | float | str]
"""An option of a network or a parameter of a scheme: a value that JSON can represent."""


def train_run(
    model: str = "tfc-w1a1",
    out: str | os.PathLike[str] = "run",
    config: TrainConfig | None = None,
    *,
    data: str | os.PathLike[str] = "digits",
    data_options: Mapping[str, Option] | None = None,
    scheme: str | None = None,
    scheme_options: Mapping[str, Option] | None = None,
    model_options: Mapping[str, Option] | None = None,
    teacher: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    start: str | os.PathLike[str] | None = None,
    cost: CostModel | None = None,
    progress: bool | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Trains, exports and verifies a model, and writes the results to the folder ``out``.

    The folder then contains ``model.onnx`` (QONNX, see ``quant.export``; not for a float network), ``metrics.json``,
    ``x_test.npy`` and ``y_test.npy`` (test frames (N, *input_shape) float32 and labels (N,)), ``checkpoint.pt`` and
    ``train.yaml`` (all arguments, ``quant.training.config_file``); and the folder ``logs`` with ``config.log``. For a
    network of your own (``module.py:function``, whose code is run) also ``network.py``, a copy of its file.

    ``model`` and ``scheme`` are as in ``quant.create_model``. ``model_options`` are the network's options
    (``in_bits``, ``width``, ...), and ``scheme_options`` are parameters of the scheme. ``data`` is a data set's name,
    folder or file (``quant.load_data``), ``data_options`` are further arguments of it. ``teacher`` is the run folder or
    checkpoint of a network to learn from, or several of them. ``start`` is one whose weights are the initial ones
    (``quant.training.start.start_from``). ``config``, ``cost``, ``progress`` and ``resume`` are as in ``quant.fit``.

    Returns the content of ``metrics.json``: ``model``, ``scheme``, ``data``, ``dataset`` {``source``, ``options``,
    ``sha256``}, ``config``, ``task``, ``accuracy`` {``train``, ``test``} (None for numbers), ``figures`` of both by the
    task (``quant.scores``), ``exits`` (of a network with early exits: ``thresholds``, and the
    ``quant.training.exits.ExitFigures`` of the validation part and the test set, else None), ``frames``, ``input``
    (range, and the normalization, which is a part of the network), ``class_names`` and ``feature_names`` (None
    without), ``seconds``, ``fit`` (with the history of every epoch), ``verification``, ``layers`` and ``totals``
    (``quant.summary``, with the density of every layer), ``savings`` (what a pruned weight of each layer saves, where
    the pruning depends on it), ``learned_widths`` (None, or ``quant.training.learned_widths.LearnedWidths`` with its
    options), ``onnx`` {``path``, ``sha256``}, ``files`` (the hashes of the others), ``versions`` and
    ``key``. It also returns ``out``, ``cached`` and ``rank``. ``rank`` is not 0 in the further processes of a training
    on several devices; their results are the same, and they write no files.

    If ``out`` contains a complete run with the same arguments, data and code, the training is not repeated (``cached``
    is True). The files are moved to ``out`` when all are complete, ``metrics.json`` last. An interrupted run therefore
    keeps the files of an earlier one; it leaves its state in ``.checkpoint``, from which ``resume=True`` continues.

    Raises QuantError for unknown names and invalid options (status 2), for data that cannot be read, for an ``out``
    that cannot be written (status 2), and where ``quant.fit`` and ``quant.export`` raise it.
    """
    folder = Path(out)
    config = TrainConfig() if config is None else config
    loading = dict(data_options or {})
    dataset = load_data(data, config.drawn_by, **loading)  # type: ignore[arg-type]
    source = find_source(model) if is_own(model) else None
    request: dict[str, Any] = {
        "model": model if source is None else source.name,
        "source": None if source is None else source.describe(),
        "scheme": scheme,
        "config": config.to_dict(),
        "model_options": dict(model_options or {}),
        "scheme_options": dict(scheme_options or {}),
        "teacher": None if teacher is None else [_origin(place, "teacher") for place in _places(teacher)],
        "start": None if start is None else _origin(start, "start"),
        "dataset": source_of(data, dataset, loading),
    }
    if config.prune is not None:
        # The results depend on these numbers, not on how the cost model finds them.
        request["savings"] = _savings(request, config, dataset, cost)
    if config.slimming is not None and config.slimming.by != "size":
        from quant.training.penalties import penalty_savings

        request["channel_savings"] = penalty_savings(_network(request, config, dataset), config.slimming, cost)
    if config.widths is not None:
        from quant.training.learned_widths import width_costs

        found = width_costs(_network(request, config, dataset), config.widths, cost)
        request["width_costs"] = {name: asdict(each) for name, each in found.items()}

    def make(work: Path, checkpoint: Path, _key: str) -> dict[str, Any]:
        if resume and not any(checkpoint.rglob("last.ckpt")):
            warnings.warn(
                f"{folder} holds no interrupted training to resume: it starts from the beginning{_further(folder)}",
                QuantWarning,
                stacklevel=3,
            )
        write_config(work / CONFIG, request)
        return _train(request, config, dataset, cost, work, progress, checkpoint, resume, folder / "logs")

    return produce(folder, request, dataset, make)


def _further(folder: Path) -> str:
    """How to train on from a finished run, where there is one."""
    if not (folder / "checkpoint.pt").is_file():
        return ""
    return f"; to go on from its finished run's weights, give --start {folder} and another --out"


def source_of(data: str | os.PathLike[str], dataset: DataSet, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns where a run's data are from, a name or a path, how they were loaded, and their hash."""
    source = os.fspath(data)
    place = source if source in NAMES else str(Path(source).resolve())
    return {"source": place, "options": dict(options), "sha256": data_hash(dataset)}


def _places(
    teacher: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Sequence[str | os.PathLike[str]]:
    return [teacher] if isinstance(teacher, str | os.PathLike) else teacher


def _origin(place: str | os.PathLike[str], what: str) -> dict[str, str]:
    path = checkpoint_file(place, what).resolve()
    return {"path": str(path), "sha256": sha256(path)}


def _network(request: Mapping[str, Any], config: TrainConfig, dataset: DataSet) -> "Network":
    """Returns the new network, with the same initial weights for the same seed."""
    import torch

    from quant.models import choose_scheme, create_model

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        options = {**dataset.options, **request["model_options"]}
        scheme = choose_scheme(request["model"], request["scheme"], request["scheme_options"])
        return create_model(request["model"], scheme, **options)


def _savings(
    request: Mapping[str, Any], config: TrainConfig, dataset: DataSet, cost: CostModel | None
) -> dict[str, float] | None:
    if config.prune is None or config.prune.by == "size":
        return None
    from quant.training.pruning import hardware_savings

    return hardware_savings(_network(request, config, dataset), config.prune, cost)


def _train(
    request: Mapping[str, Any],
    config: TrainConfig,
    dataset: DataSet,
    cost: CostModel | None,
    work: Path,
    progress: bool | None,
    checkpoint: Path,
    resume: bool,
    logs: Path,
) -> dict[str, Any]:
    """Returns the measurements for ``metrics.json``; writes the other files to ``work``."""
    from quant.qonnx.export import check_export
    from quant.training.loop import fit
    from quant.training.start import start_from

    model = _network(request, config, dataset)
    if model.source is not None and model.scheme.quantizes:
        check_export(model)  # before the training
    if request["start"]:
        start_from(model, request["start"]["path"])
    teachers = request["teacher"] and [each["path"] for each in request["teacher"]]
    learned = None
    if config.widths is not None:
        from quant.training.learned_widths import LayerCosts, learn_widths

        costs = {name: LayerCosts(**each) for name, each in request["width_costs"].items()}
        model, found = learn_widths(
            model, dataset, config,
            cost=costs, teacher=teachers, progress=progress, checkpoint=checkpoint / "widths", resume=resume,
        )  # fmt: skip
        learned, config = {**asdict(found), **found.options}, config.phases()[1]
    result = fit(
        model, dataset, config,
        teacher=teachers, cost=cost, progress=progress, checkpoint=checkpoint, resume=resume, logs=logs,
    )  # fmt: skip
    return {**write_network(model, result, dataset, work), "learned_widths": learned}
