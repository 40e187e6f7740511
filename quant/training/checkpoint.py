"""Checkpoints, from which a network can be restored to be trained further or exported.

Light to import: torch and Brevitas are imported when a file is written or read.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant import schemes
from quant.errors import QuantError
from quant.files import write_bytes
from quant.models import create_model
from quant.models.source import same_source

if TYPE_CHECKING:
    from quant.models.network import Network


def save_checkpoint(model: "Network", path: str | os.PathLike[str]) -> None:
    """Writes the network's description, including changed and compressed layers, and its parameters.

    The file is replaced only when the new one is complete; an older file is kept until then. Raises QuantError where it
    cannot be written, and (status 2) for a network that ``create_model`` does not make.
    """
    import torch

    if model.restored_by is not None:
        raise QuantError(f"{model.name} cannot be made again from a checkpoint: {model.restored_by}", status=2)

    from quant.compression.weights import describe

    content = {
        "name": model.name,
        "source": None if model.source is None else model.source.describe(),
        "scheme": model.scheme.describe(),
        "options": model.options,
        "changes": list(model.changes),
        "compression": describe(model),
        "parameters": model.state_dict(),
    }
    buffer = io.BytesIO()  # torch's own writing of files has no reason for its errors
    torch.save(content, buffer)
    write_bytes(Path(path), buffer.getbuffer())


def weights_hash(model: "Network") -> str:
    """Returns a hash of a network's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(place: str | os.PathLike[str], what: str = "checkpoint") -> "Network":
    """Returns the network that ``save_checkpoint`` wrote, on the CPU, in eval mode.

    ``place``: the file, or the run folder that holds it. ``what`` is the word for it in an error.

    A network of a user's own (``module.py:function``) is made by its file again, which is run if it has the content of
    the training; else by the copy in the run's folder.

    Raises QuantError for a file that is not such a checkpoint, with status 2 if there is none.
    """
    path = checkpoint_file(place, what)
    import torch

    from quant.compression.restructure import restructure
    from quant.compression.weights import prepare
    from quant.models.network import load_parameters

    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        scheme = dict(content["scheme"])
        described = content["source"]
        name = content["name"] if described is None else same_source(described, path.parent)
        model = create_model(name, schemes.get(scheme.pop("name"), **scheme), **content["options"])
        restructure(model, content["changes"])
        prepare(model, content["compression"])
        load_parameters(model, content["parameters"])
    except QuantError:
        raise
    except Exception as error:  # torch.load raises many types for a file that it did not write
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise QuantError(f"{path} is no checkpoint of this version: {reason}") from error
    return model.eval()


def checkpoint_file(place: str | os.PathLike[str], what: str) -> Path:
    """Returns the checkpoint in a run folder, or ``place`` itself if it is a file.

    Raises QuantError (status 2) if neither exists. ``what`` is the word for it.
    """
    path = Path(place)
    path = path / "checkpoint.pt" if path.is_dir() else path
    if not path.is_file():
        raise QuantError(f"no {what} {place}: give a folder that bitfabric train left, or a checkpoint", status=2)
    return path
