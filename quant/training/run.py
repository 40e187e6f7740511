"""Run folders: each holds one training with its results, and is reused when the same training is requested again.

Light to import: torch, Brevitas and Lightning (``quant.training.loop``) are imported only if a training is necessary.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.cost import CostModel
from quant.data import DataSet, load_data
from quant.errors import QuantError
from quant.files import sha256, using, write_bytes
from quant.training.checkpoint import checkpoint_file, save_checkpoint
from quant.training.config import TrainConfig

if TYPE_CHECKING:
    from quant.models.network import Network

_PACKAGES = ("torch", "brevitas", "qonnx", "onnx", "lightning", "numpy")
_PACKAGE = Path(__file__).parents[1]
_PRODUCTS = ("checkpoint.pt", "x_test.npy", "y_test.npy")  # also model.onnx (quantized networks) and metrics.json


Option = bool | int | float | str | None | Sequence[bool | int | float | str]
"""An option of a network or a parameter of a scheme: a value that JSON can represent."""


def train_run(
    model: str = "tfc-w1a1",
    out: str | os.PathLike[str] = "run",
    config: TrainConfig | None = None,
    *,
    data: str | os.PathLike[str] = "digits",
    scheme: str | None = None,
    scheme_options: Mapping[str, Option] | None = None,
    model_options: Mapping[str, Option] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    cost: CostModel | None = None,
    progress: bool | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Trains, exports and verifies a model, and writes the results to the folder ``out``.

    The folder then contains ``model.onnx`` (QONNX, see ``quant.export``; not for a float network), ``metrics.json``,
    ``x_test.npy`` and ``y_test.npy`` (test frames (N, *input_shape) float32 and labels (N,)) and ``checkpoint.pt``.

    ``model`` and ``scheme`` are as in ``quant.create_model``. ``model_options`` are the network's options (``in_bits``,
    ``width``, ...), and ``scheme_options`` are parameters of the scheme. ``data`` is a data set's name, folder or file
    (``quant.load_data``). ``teacher`` is the run folder or checkpoint of a network to learn from. ``config``,
    ``cost``, ``progress`` and ``resume`` are as in ``quant.fit``.

    Returns the content of ``metrics.json``: ``model``, ``scheme``, ``data``, ``config``, ``accuracy`` {``train``,
    ``test``}, ``frames``, ``input`` (range, and the scaling of floating-point features), ``seconds``, ``fit`` (with the
    history of every epoch), ``verification``, ``layers`` and ``totals`` (``quant.summary``, with the density of every
    layer), ``savings`` (what a pruned weight of each layer saves, where the pruning depends on it), ``onnx`` {``path``,
    ``sha256``}, ``files`` (the hashes of the others), ``versions`` and ``key``. It also returns ``out``, ``cached`` and
    ``rank``. ``rank`` is not 0 in the further processes of a training on several devices; their results are the same,
    and they write no files.

    If ``out`` contains a complete run with the same arguments, data and code, the training is not repeated (``cached``
    is True). The files are moved to ``out`` when all are complete, ``metrics.json`` last. An interrupted run therefore
    keeps the files of an earlier one; it leaves its state in ``.checkpoint``, from which ``resume=True`` continues.

    Raises QuantError for unknown names and invalid options (status 2), for data that cannot be read, for an ``out``
    that cannot be written (status 2), and where ``quant.fit`` and ``quant.export`` raise it.
    """
    folder = Path(out)
    config = TrainConfig() if config is None else config
    dataset = load_data(data, config.seed)
    request: dict[str, Any] = {
        "model": model,
        "scheme": scheme,
        "config": asdict(config),
        "model_options": dict(model_options or {}),
        "scheme_options": dict(scheme_options or {}),
        "teacher": None if teacher is None else _teacher(teacher),
    }
    if config.prune is not None:
        # The results depend on these numbers, not on how the cost model finds them.
        request["savings"] = _savings(request, config, dataset, cost)
    versions = {package: metadata.version(package) for package in _PACKAGES}
    key = _key(request, versions, dataset)
    finished = _finished(folder, key)
    if finished is not None:
        return {**finished, "out": str(folder), "cached": True, "rank": 0}
    checkpoint = folder / ".checkpoint"
    with using(folder, "choose another folder", "cannot write to"):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        work = Path(tempfile.mkdtemp(prefix=f".partial-{os.getpid()}-", dir=folder))
    with using(folder, "choose another folder", "cannot write to"), _removed(work):
        measured, rank = _train(request, config, dataset, cost, work, progress, checkpoint, resume)
        results = {**request, "data": dataset.name, **measured, "versions": versions, "key": key}
        if rank == 0:
            results["files"] = {name: sha256(work / name) for name in _PRODUCTS}
            write_bytes(work / "metrics.json", f"{json.dumps(results, indent=2)}\n".encode())
            (folder / "metrics.json").unlink(missing_ok=True)
            for name in (*_PRODUCTS, "model.onnx", "metrics.json"):
                if (work / name).exists():
                    os.replace(work / name, folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
            shutil.rmtree(checkpoint, ignore_errors=True)
    return {**results, "out": str(folder), "cached": False, "rank": rank}


@contextmanager
def _removed(work: Path) -> Iterator[None]:
    """Context of a folder that is removed at the end."""
    try:
        yield
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _teacher(place: str | os.PathLike[str]) -> dict[str, str]:
    path = checkpoint_file(place)
    return {"path": str(path), "sha256": sha256(path)}


def _network(request: Mapping[str, Any], config: TrainConfig, dataset: DataSet) -> "Network":
    """Returns the new network, with the same initial weights for the same seed."""
    import torch

    from quant.models import choose_scheme, create_model

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        options = {
            "input_shape": dataset.shape,
            "classes": dataset.classes,
            "in_range": (dataset.low, dataset.high),
            **request["model_options"],
        }
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
) -> tuple[dict[str, Any], int]:
    """Returns the measurements for ``metrics.json`` and this process's rank; writes the other files to ``work``."""
    import torch

    from quant.metrics import summary
    from quant.models.network import model_inputs
    from quant.qonnx.export import export
    from quant.training.loop import fit

    model = _network(request, config, dataset)
    teacher = request["teacher"] and request["teacher"]["path"]
    result = fit(
        model, dataset, config,
        teacher=teacher, cost=cost, progress=progress, checkpoint=checkpoint, resume=resume,
    )  # fmt: skip
    model.cpu()
    x_test = model_inputs(model, dataset.x_test)
    verification = onnx = None
    if model.scheme.quantizes:
        verification = asdict(export(model, work / "model.onnx", x_test[:1000]))
        onnx = {"path": "model.onnx", "sha256": sha256(work / "model.onnx")}
    save_checkpoint(model, work / "checkpoint.pt")
    np.save(work / "x_test.npy", x_test)
    np.save(work / "y_test.npy", dataset.y_test)
    measured = {
        "scheme": model.scheme.describe(),
        "accuracy": {"train": result.train_accuracy, "test": result.test_accuracy},
        "frames": {"train": len(dataset.x_train), "test": len(dataset.x_test)},
        "input": {
            "low": dataset.low,
            "high": dataset.high,
            "scale": None if dataset.scale is None else dataset.scale.tolist(),
            "offset": None if dataset.offset is None else dataset.offset.tolist(),
        },
        "seconds": round(result.seconds, 3),
        "fit": asdict(result),
        "verification": verification,
        **summary(model).as_dict(),
        "onnx": onnx,
    }
    return measured, torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _key(request: Mapping[str, Any], versions: Mapping[str, str], dataset: DataSet) -> str:
    """Returns a hash of all that the results depend on: arguments, data, this package's code, library versions."""
    digest = hashlib.sha256()
    try:
        digest.update(json.dumps([request, versions], sort_keys=True).encode())
    except TypeError as error:
        raise QuantError(f"options must be plain JSON values: {error}", status=2) from error
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(source.relative_to(_PACKAGE).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """Returns the results in the folder if they are complete and belong to ``key``, else None."""
    try:
        results = json.loads((folder / "metrics.json").read_text())
        whole = results["key"] == key and all(sha256(folder / name) == results["files"][name] for name in _PRODUCTS)
        onnx = results["onnx"]
        whole = whole and (onnx is None or sha256(folder / "model.onnx") == onnx["sha256"])
        return results if whole else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _remove_abandoned(folder: Path) -> None:
    """Removes the working folders of runs that were killed."""
    for work in folder.glob(".partial-*"):
        try:
            os.kill(int(work.name.split("-")[1]), 0)  # signal 0 only asks whether the process lives
        except ProcessLookupError:
            shutil.rmtree(work, ignore_errors=True)
        except (PermissionError, ValueError):
            continue
