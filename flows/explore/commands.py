"""The commands that train and build a network of a study again."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.explore.settings import Settings
from flows.explore.tried import Tried
from quant.training.config_file import CONFIG, read_config

AGAIN = "again/"
"""The folder that the commands leave."""


def train_command(run: Path, out: str = AGAIN) -> str:
    """The command that repeats the training of a run folder of a study, to the same network.

    Raises QuantError where the folder does not state its arguments.
    """
    given = read_config(run / CONFIG)
    config = given["config"]
    words = ["bitfabric", "train", given["model"], "--data", given.get("data", "digits")]
    words += _data_options(given.get("data_options", {}))
    words += ["--scheme", given["scheme"]] if given.get("scheme") else []
    for name, value in given.get("model_options", {}).items():
        words += ["--model-option", f"{name}={_option(value)}"]
    words += ["--epochs", str(config.epochs), "--seed", str(config.seed)]
    words += ["--split-seed", str(config.split_seed)] if config.split_seed is not None else []
    words += ["--validation", f"{config.validation!r}"] if config.validation else []
    words += ["--augment", config.augment] if config.augment else []
    if config.prune is not None:
        words += ["--prune", f"{config.prune.fraction!r}"]
        for layer in config.prune.layers or ():
            words += ["--prune-layers", layer]
    return shlex.join([*words, "-o", out])


def build_command(settings: Settings, network: Tried, run: str = AGAIN) -> str:
    """The command that builds a network, trained in the folder ``run``, as ``Study.build`` does."""
    model = str(Path(run) / "model.onnx")
    words = ["bitfabric", "build", model, "--target", settings.target]
    options = settings.build_options()
    words += ["--fill"] if options.get("fill") else ["--fps", f"{options['fps']:.17g}"]
    words += ["--clock", f"{options['clock_mhz']:.17g}"] if options["clock_mhz"] is not None else []
    for name, most in settings.limits.items():
        words += [f"--max-{name}", str(most)]
    return shlex.join([*words, "-o", "build/"])


def _data_options(options: Mapping[str, Any]) -> list[str]:
    """The arguments of ``quant.load_data`` as ``bitfabric train`` takes them."""
    words: list[str] = []
    for name, value in options.items():
        if name in ("target", "drop"):
            for column in [value] if isinstance(value, str) else value:
                words += [f"--{name}-column", column]
        else:
            text = "x".join(map(str, value)) if name == "image_size" else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return words


def _option(value: Any) -> str:
    """A value as ``--model-option`` reads it."""
    return json.dumps(value, separators=(",", ":"))
