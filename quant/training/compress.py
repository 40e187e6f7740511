"""Compression of the network of a run folder by one method, fine-tuning, and a new run folder.

Light to import: torch, Brevitas and Lightning are imported only if there is something to do.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from quant import schemes
from quant.cost import CostModel
from quant.data import load_data
from quant.data.dataset import data_hash
from quant.errors import QuantError
from quant.files import sha256, write_bytes
from quant.structure import structure
from quant.training.config import Criterion, TrainConfig
from quant.training.methods import Method, Task, complete_options, find_method
from quant.training.run_folder import produce, read_run, write_network

if TYPE_CHECKING:
    from quant.models.network import Network

_CARRIED = ("model", "config", "model_options", "scheme_options", "teacher", "dataset")
"""What a compressed run's ``metrics.json`` takes over from that of its source."""


def compress_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    method: str,
    *,
    density: float | None = None,
    fraction: float | None = None,
    options: Mapping[str, Any] | None = None,
    layers: Sequence[str] | None = None,
    epochs: int = 20,
    learning_rate: float | tuple[float, float] | None = None,
    data: str | os.PathLike[str] | None = None,
    cost: CostModel | None = None,
    progress: bool | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Compresses the network of the run folder ``run`` and writes a run folder ``out``, like that of ``train_run``.

    ``method`` is one of ``quant.training.methods.METHODS``, ``options`` are its options. ``density`` is the share of
    the weights (of the neurons or channels, for "merge" and "slim") that is left in each layer, ``fraction`` the share
    that becomes 0 or is removed; give one of them, or neither for the method's default. ``layers`` are patterns of
    names; None: all.

    The network is then trained for ``epochs`` with the settings of its own training, on the same data, at
    ``learning_rate``, by default a tenth of the former one (Han et al. 2015), small rates for shared values, or the
    former one itself for new weights ("scratch"). A
    method that trains by itself ("deep-compression") does it for ``epochs`` each time. 0: no training. ``data`` is the
    place of the data where it is no longer that of the training.

    The option ``by`` of "prune", "obd" and "slim" ranks the layers together by what a weight or a channel less saves,
    "lut", "cycles" or "rom_bits", in the hardware that ``cost`` knows (``flows.cost.HardwareCost``).

    Returns the content of ``metrics.json`` (see ``train_run``), with ``compression``: ``method``, ``options``,
    ``fraction``, ``layers``, ``savings`` (of a weight or channel of each layer, with ``by``), ``config`` of the
    training, ``accuracy`` (``before``, ``compressed``, ``after``), ``weights`` of each layer (``name``, ``weights``,
    ``before`` and ``after``, the numbers that are not 0), and ``source``: ``path`` and ``sha256`` of the checkpoint,
    and the ``compression`` of the source. ``scheme`` and ``config`` are those of the original training.

    An interrupted call keeps its state in ``.checkpoint`` of ``out``; ``resume=True`` continues from it, and the result
    is that of an uninterrupted one.

    Raises QuantError (status 2) for a folder without a checkpoint, an unknown method or option, a density out of range,
    layers with 1-bit weights, a state of another compression, and as the method, ``quant.fit`` and ``quant.export`` do.
    """
    source = Path(run)
    chosen = find_method(method)
    settings = complete_options(method, options or {})
    share = _fraction(method, chosen, density, fraction, settings)
    if chosen.whole and layers:
        raise QuantError(f"method {method} changes all layers: leave out the choice of layers (--layers)", status=2)
    if learning_rate is not None and not epochs:
        raise QuantError(f"learning_rate={learning_rate} is that of the training, and epochs=0 has none", status=2)
    before = read_run(source, (*_CARRIED, "scheme"))
    if before["scheme"]["name"] == "lookup":
        raise QuantError(
            f"{source} is a lookup network, whose tables have no weights to compress: train one of fewer tables "
            "(--model-option tables=N)",
            status=2,
        )
    config = _config(before, source, epochs)
    own = config.rates(schemes.get_class(before["scheme"]["name"]).learning_rate)
    usual = own if chosen.rates == "own" else chosen.rates or (own[0] / 10, own[1] / 10)
    rates = usual if learning_rate is None else replace(config, learning_rate=learning_rate).rates(usual)
    if chosen.trains:
        if not epochs:
            raise QuantError(f"method {method} trains the network: give epochs of at least 1", status=2)
        config = config if learning_rate is None else replace(config, learning_rate=learning_rate)
    origin = before["dataset"]["source"] if data is None else data
    dataset = load_data(origin, config.drawn_by, **before["dataset"]["options"])
    if data_hash(dataset) != before["dataset"]["sha256"]:
        raise QuantError(
            f"{origin} has changed since {source} was trained on it: give the same data (--data), or train again",
            status=2,
        )
    if dataset.task != "classification":
        raise QuantError(
            f"{source} is for {dataset.task}, and compress measures classes: train a smaller network, or prune it in "
            "its training (--prune)",
            status=2,
        )
    if Path(out).resolve() == source.resolve():
        raise QuantError(f"{out} is the run to compress: choose another folder (-o)", status=2)
    patterns = None if not layers else tuple(layers)
    saved = _savings(source, chosen, settings, share, patterns, cost)
    request = {
        **{name: before[name] for name in _CARRIED},
        "scheme": before["scheme"],
        "compression": {
            "method": method,
            "options": settings,
            "fraction": share,
            "layers": patterns,
            "savings": saved,
            "config": {
                **asdict(config),
                "epochs": epochs,
                "learning_rate": config.learning_rate if chosen.trains else rates,
            },
            "source": {
                "path": str(source),
                "sha256": sha256(source / "checkpoint.pt"),
                "compression": before.get("compression"),
            },
        },
    }

    def make(work: Path, checkpoint: Path, key: str) -> dict[str, Any]:
        from quant.training.checkpoint import load_checkpoint

        model = load_checkpoint(source / "checkpoint.pt")
        _check_weights(model, chosen, patterns, source)
        _bind(checkpoint, key, resume)
        teachers = before["teacher"] and [each["path"] for each in before["teacher"]]
        task = Task(
            model, dataset, share, settings, patterns, saved, config, teachers, checkpoint / "method", resume, progress
        )
        try:
            measured = _compress(task, chosen, rates if epochs else None, checkpoint / "tuned", work)
        except QuantError:
            shutil.rmtree(checkpoint, ignore_errors=True)  # not interrupted, but impossible
            raise
        measured["compression"] = {**request["compression"], **measured["compression"]}
        return measured

    return produce(Path(out), request, dataset, make)


def _compress(
    task: Task, method: Method, rates: tuple[float, float] | None, checkpoint: Path, work: Path
) -> dict[str, Any]:
    """Returns the measurements for ``metrics.json``; writes the other files to ``work``."""
    import torch

    from quant.metrics import accuracy, summary
    from quant.models.network import model_inputs
    from quant.training.loop import fit

    test = torch.from_numpy(model_inputs(task.model, task.data.x_test)), torch.tensor(task.data.y_test)
    dense = summary(task.model)
    reached: dict[str, float | None] = {"before": accuracy(task.model, *test), "compressed": None}
    with torch.random.fork_rng():
        torch.manual_seed(task.config.seed)
        small = method.apply(task).cpu()
    result = None
    if not method.trains:
        reached["compressed"] = accuracy(small, *test)
        if rates is not None:
            result = fit(
                small, task.data, replace(task.config, learning_rate=rates),
                teacher=task.teachers, checkpoint=checkpoint, resume=task.resume, progress=task.progress,
            )  # fmt: skip
    measured = write_network(small, result, task.data, work)
    reached["after"] = measured["accuracy"]["test"]
    sizes = summary(small)
    left = {row.name: row.nonzeros for row in sizes}  # a layer that runs twice has two rows, and its weights once
    weights = [
        {"name": old.name, "weights": old.weights, "before": old.nonzeros, "after": _nonzeros(old.name, left)}
        for old in {row.name: row for row in dense}.values()
    ]
    return {**measured, "compression": {"accuracy": reached, "weights": weights}}


def _nonzeros(name: str, left: Mapping[str, int]) -> int:
    """The weights other than 0 of a layer, or of the layers that it was split into."""
    return sum(count for part, count in left.items() if part == name or part.startswith(f"{name}."))


def _fraction(
    name: str, method: Method, density: float | None, fraction: float | None, options: Mapping[str, Any]
) -> float | None:
    """The share that becomes 0: as given, that of the structure, or the default. None where the options decide."""
    if method.counts is None:
        if density is not None or fraction is not None:
            raise QuantError(f"method {name} has no density: its options decide what is left", status=2)
        return None
    if density is not None and fraction is not None:
        raise QuantError("density and fraction say the same: give one of them", status=2)
    if density is not None and not 0 < density <= 1:
        raise QuantError(f"density={density} is not above 0 and at most 1: it is the share that is left", status=2)
    if fraction is not None and not 0 <= fraction < 1:
        raise QuantError(f"fraction={fraction} is not from 0 to below 1: it is the share that becomes 0", status=2)
    given = 1 - density if density is not None else fraction
    if ranks := [f"{option}={options[option]}" for option in ("rank", "energy") if options.get(option)]:
        if given is not None or len(ranks) > 1:
            share = [] if given is None else ["fraction" if density is None else "density"]
            raise QuantError(f"{' and '.join([*ranks, *share])} each say how much is left: give one of them", status=2)
        return None
    if given is None:
        own = structure(options.get("structure", "unstructured")).fraction
        return method.fraction if own is None else own
    return given


def _config(metrics: Mapping[str, Any], source: Path, epochs: int) -> TrainConfig:
    """The settings of the run's training, with other epochs, without pruning, penalties and new ties."""
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise QuantError(f"epochs={epochs!r} is no whole number of 0 or more", status=2)
    try:
        changed = {"prune": None, "slimming": None, "tie": None, "widths": None, "epochs": max(1, epochs)}
        return TrainConfig.from_dict({**metrics["config"], **changed})
    except (KeyError, TypeError, QuantError) as error:
        raise QuantError(f"{source}/metrics.json is damaged or of another version: train the network again") from error


def _savings(
    source: Path,
    method: Method,
    options: Mapping[str, Any],
    fraction: float | None,
    layers: Sequence[str] | None,
    cost: CostModel | None,
) -> dict[str, float] | None:
    by = options.get("by", "size")
    if by == "size":
        return None
    if by not in get_args(Criterion):
        raise QuantError(f"no criterion by={by!r}: choose {', '.join(get_args(Criterion))}", status=2)
    if cost is None:
        raise QuantError(f"by={by} needs a cost model: cost=flows.cost.HardwareCost(device), or --target", status=2)
    from quant.training.checkpoint import load_checkpoint

    assert fraction is not None
    assert method.savings is not None
    model = load_checkpoint(source / "checkpoint.pt")
    _check_weights(model, method, layers, source)
    return method.savings(model, cost, fraction, options, layers)


def _check_weights(model: "Network", method: Method, layers: Sequence[str] | None, source: Path) -> None:
    """Raises QuantError for 1-bit weights, where a method cannot have them."""
    from quant.compression.weights import bit_width_of, find_layers, of_scheme

    if method.one_bit is None:
        return
    for name, layer in find_layers(model, layers).items():
        if bit_width_of(layer) == 1:
            raise QuantError(
                f"{source}: layer {name} has 1-bit weights{of_scheme(layer)}, {method.one_bit}, or choose other layers "
                "(--layers)",
                status=2,
            )


def _bind(checkpoint: Path, key: str, resume: bool) -> None:
    """Makes the folder of the unfinished state that of the request ``key``; empties it unless ``resume``."""
    note = checkpoint / "key"
    if resume and checkpoint.is_dir():
        if not note.is_file() or note.read_text() != key:
            raise QuantError(
                f"{checkpoint} is the state of another run or version: repeat the same command, or leave --resume",
                status=2,
            )
        return
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir(parents=True)
    write_bytes(note, key.encode())
