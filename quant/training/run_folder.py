"""Run folders: each holds one network with its results, and is reused when the same is requested again.

Light to import: torch and Brevitas are imported only if there is something to do.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.data import DataSet
from quant.data.dataset import data_hash
from quant.errors import QuantError
from quant.files import sha256, using, write_bytes
from quant.models.source import COPY
from quant.training.checkpoint import save_checkpoint
from quant.training.config_file import CONFIG

if TYPE_CHECKING:
    from quant.models.network import Network
    from quant.training.loop import FitResult

_PACKAGES = ("torch", "brevitas", "qonnx", "onnx", "lightning", "numpy")
_PACKAGE = Path(__file__).parents[1]
_FRAMES = ("x_test.npy", "y_test.npy")
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""The variables with the number of a process, 0 for the first, that torchrun, Lightning and clusters set."""
_PRODUCTS = ("checkpoint.pt", *_FRAMES)  # also model.onnx (quantized networks) and metrics.json


def produce(
    folder: Path,
    request: Mapping[str, Any],
    dataset: DataSet,
    make: Callable[[Path, Path, str], dict[str, Any]],
) -> dict[str, Any]:
    """Returns the content of ``metrics.json`` in ``folder``, after ``make`` where the folder has no such run yet.

    ``make(work, checkpoint, key)`` writes the files of the run to the folder ``work`` (``write_network``) and returns
    its measurements. It may keep the state of an unfinished run in the folder ``checkpoint``, which is removed at the
    end. ``key`` is a hash of all that the results depend on: ``request``, data, this package's code, library versions.
    The files are moved to ``folder`` when all are complete, ``metrics.json`` last.

    Returns also ``out``, ``cached`` and ``rank`` (see ``quant.train_run``). Raises QuantError for options that are no
    JSON values, for a folder that cannot be written (status 2), and for one in which another run is at work.
    """
    versions = {package: metadata.version(package) for package in _PACKAGES}
    key = _key(request, versions, dataset)
    finished = _finished(folder, key)
    if finished is not None:
        return {**finished, "out": str(folder), "cached": True, "rank": 0}
    checkpoint = folder / ".checkpoint"
    with using(folder, "choose another folder", "cannot write to"):
        own = _is_unfinished(folder)
        folder.mkdir(parents=True, exist_ok=True)
    with using(folder, "choose another folder", "cannot write to"), _alone(folder), _working(folder, own) as work:
        measured = make(work, checkpoint, key)
        rank = _rank()
        results = {**request, "data": dataset.name, **measured, "versions": versions, "key": key}
        if rank == 0:
            results["files"] = {name: sha256(work / name) for name in (*_PRODUCTS, COPY) if (work / name).exists()}
            write_bytes(work / "metrics.json", f"{json.dumps(results, indent=2)}\n".encode())
            (folder / "metrics.json").unlink(missing_ok=True)
            for name in (*_PRODUCTS, COPY, "model.onnx", CONFIG, "metrics.json"):
                if (work / name).exists():
                    os.replace(work / name, folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
            shutil.rmtree(checkpoint, ignore_errors=True)
    return {**results, "out": str(folder), "cached": False, "rank": rank}


def write_network(model: "Network", result: "FitResult | None", dataset: DataSet, work: Path) -> dict[str, Any]:
    """Exports a trained network, and writes its checkpoint, where it has one, and test frames, to ``work``.

    Returns the measurements for ``metrics.json``: the same ones for every run. ``result`` is that of the (last)
    training, None where there was none.
    """
    import torch

    from quant.metrics import summary
    from quant.models.network import model_inputs
    from quant.qonnx.export import export
    from quant.training.exits import describe_exits
    from quant.training.objective import figures

    model.cpu()
    x_test = model_inputs(model, dataset.x_test)
    verification = onnx = None
    if model.scheme.quantizes:
        verification = asdict(export(model, work / "model.onnx", x_test[:1000]))
        onnx = {"path": "model.onnx", "sha256": sha256(work / "model.onnx")}
    if model.restored_by is None:
        save_checkpoint(model, work / "checkpoint.pt")
    if model.source is not None:
        write_bytes(work / COPY, model.source.content)
    np.save(work / "x_test.npy", x_test)
    np.save(work / "y_test.npy", dataset.y_test)
    if result is None:
        parts = {"train": (model_inputs(model, dataset.x_train), dataset.y_train), "test": (x_test, dataset.y_test)}
        reached = {
            part: figures(model, dataset.task, torch.from_numpy(x), torch.tensor(y), model.target_scale)
            for part, (x, y) in parts.items()
        }
    else:
        reached = result.figures
    return {
        "scheme": model.scheme.describe(),
        "task": dataset.task,
        "accuracy": {part: each.get("accuracy") for part, each in reached.items()},
        "figures": reached,
        "exits": describe_exits(
            model, None if result is None else result.exits, torch.from_numpy(x_test), torch.tensor(dataset.y_test)
        ),
        "frames": {"train": len(dataset.x_train), "test": len(dataset.x_test)},
        "input": {
            "low": dataset.low,
            "high": dataset.high,
            "scale": None if dataset.scale is None else dataset.scale.tolist(),
            "offset": None if dataset.offset is None else dataset.offset.tolist(),
        },
        "class_names": dataset.class_names,
        "feature_names": dataset.feature_names,
        "seconds": None if result is None else round(result.seconds, 3),
        "fit": None if result is None else asdict(result),
        "verification": verification,
        **summary(model).as_dict(),
        "onnx": onnx,
    }


def read_run(folder: Path, needed: Sequence[str]) -> dict[str, Any]:
    """Returns the content of a run's ``metrics.json``, whose checkpoint is there and unchanged.

    Raises QuantError for a folder without one of these files (status 2), for a content without one of the keys
    ``needed``, and for another checkpoint.
    """
    if not (folder / "metrics.json").is_file() or not (folder / "checkpoint.pt").is_file():
        missing = "metrics.json" if (folder / "checkpoint.pt").is_file() else "checkpoint.pt"
        if missing == "checkpoint.pt" and _is_quantized(folder):
            raise QuantError(
                f"{folder} is what bitfabric quantize left, without a network to go on with: take the float run that "
                "it was made of, and quantize what becomes of that",
                status=2,
            )
        raise QuantError(
            f"{folder} is no finished run, it has no {missing}: give a folder that bitfabric train left", status=2
        )
    try:
        content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        recorded = content["files"]["checkpoint.pt"]
        for name in needed:
            content[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise QuantError(f"{folder}/metrics.json is damaged or of another version: train the network again") from error
    if recorded != sha256(folder / "checkpoint.pt"):
        raise QuantError(f"{folder}/checkpoint.pt is not the one that metrics.json records: train the network again")
    return content


def _is_quantized(folder: Path) -> bool:
    """Whether a folder is that of ``quant.quantize_run``."""
    try:
        return "quantization" in json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _rank() -> int:
    import torch

    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Context in which no other run writes to ``folder``. Raises QuantError where another one is at work in it.

    The folder itself is locked, so that no file is left. The further processes of a training on several devices share
    the folder with the first one. A file system without locks (on some, folders have none) is used without.
    """
    if any(os.environ.get(name, "0") != "0" for name in _RANKS):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QuantError(
                    f"another run is at work in {folder}; wait for its end, or choose another folder"
                ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _working(folder: Path, own: bool) -> Iterator[Path]:
    """A folder in ``folder`` for the files of a run, which is removed at the end. So is ``folder``, where it is the
    run's ``own`` and nothing else is in it: a run that failed."""
    _remove_abandoned(folder)
    work = Path(tempfile.mkdtemp(prefix=f".partial-{os.getpid()}-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if own:
            with suppress(OSError):
                folder.rmdir()


def _key(request: Mapping[str, Any], versions: Mapping[str, str], dataset: DataSet) -> str:
    """Returns a hash of all that the results depend on: arguments, data, this package's code, library versions."""
    digest = hashlib.sha256()
    try:
        digest.update(json.dumps([request, versions], sort_keys=True).encode())
    except TypeError as error:
        raise QuantError(f"options must be plain JSON values: {error}", status=2) from error
    digest.update(data_hash(dataset).encode())
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(source.relative_to(_PACKAGE).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """Returns the results in the folder if they are complete and belong to ``key``, else None."""
    try:
        results = json.loads((folder / "metrics.json").read_text())
        files = results["files"]
        whole = results["key"] == key and all(sha256(folder / name) == files[name] for name in {*_FRAMES, *files})
        onnx = results["onnx"]
        whole = whole and (onnx is None or sha256(folder / "model.onnx") == onnx["sha256"])
        return results if whole else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_unfinished(folder: Path) -> bool:
    """Whether a folder is new, or only has the state of an interrupted run in it. Raises OSError."""
    if not folder.exists():
        return True
    names = [each.name for each in folder.iterdir() if not each.name.startswith(".partial-")]
    return names == [".checkpoint"]


def _remove_abandoned(folder: Path) -> None:
    """Removes the working folders of runs that were killed."""
    for work in folder.glob(".partial-*"):
        try:
            os.kill(int(work.name.split("-")[1]), 0)  # signal 0 only asks whether the process lives
        except ProcessLookupError:
            shutil.rmtree(work, ignore_errors=True)
        except (PermissionError, ValueError):
            continue
