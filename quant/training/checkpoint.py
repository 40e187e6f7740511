"""Saving a network so that it can be made again, trained further or exported later."""

import os
from pathlib import Path
from typing import Any

import torch

from quant import compression, schemes
from quant.errors import QuantError
from quant.models import create_model
from quant.models.network import Network


def save_checkpoint(model: Network, path: str | os.PathLike[str]) -> None:
    """Writes the network's description, compressed layers included, and its parameters.

    A file of that name is replaced only by a whole one.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        torch.save(
            {
                "name": model.name,
                "scheme": model.scheme.describe(),
                "options": model.options,
                "compression": compression.describe(model),
                "parameters": model.state_dict(),
            },
            partial,
        )
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> Network:
    """The network that ``save_checkpoint`` wrote, on the CPU, in eval mode. QuantError for anything else."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        scheme = dict(content["scheme"])
        model = create_model(content["name"], schemes.get(scheme.pop("name"), **scheme), **content["options"])
        compression.prepare(model, content["compression"])
        model.load_state_dict(content["parameters"])
    except QuantError:
        raise
    except Exception as error:  # torch.load raises a dozen types for a file that is not its own
        raise QuantError(f"{path} is no checkpoint of this version: {str(error).splitlines()[0]}") from error
    return model.eval()
