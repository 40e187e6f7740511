"""The page about the survey: every method of its references has one row, and every name in it exists."""

import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import get_args

import typer.main

from flows.cli.main import app
from quant import schemes
from quant.compression.criteria import SCORES
from quant.distillation.settings import Distillation
from quant.errors import QuantError
from quant.models import create_model, list_models
from quant.structure import structure
from quant.ties import ties
from quant.training.config import ChannelPenalty
from quant.training.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "survey.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
TICKS = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
KERNELS = {path.parent.name for path in (ROOT / "hw" / "kernels").glob("*/kernel.py")}


def test_every_method_of_the_survey_has_one_row():
    numbers = [int(n) for row in ROWS for n in re.findall(r"\d+", re.match(r"\| ([\d, ]+)", row).group(1))]
    assert sorted(numbers) == [3, *range(6, 74), *range(79, 91)]


def _commands():
    group = typer.main.get_command(app)
    return {name: {o for p in command.params for o in p.opts} for name, command in group.commands.items()}


def test_every_name_exists():
    commands = _commands()
    wrong = [text for text in TICKS if not _found(text, commands)]
    assert not wrong


def _found(text, commands) -> bool:
    values = {
        "--method": METHODS.__contains__, "--criterion": [*SCORES, "lasso"].__contains__, "--tie": ties,
        "--distill": Distillation, "--structure": structure, "--slim-penalty": get_args(ChannelPenalty).__contains__,
    }  # fmt: skip
    words = text.split()
    if words[0] == "bitfabric":
        if not {w for w in words if w.startswith("--")} <= commands[words[1]]:
            return False
        words = words[2:]
    elif words[0].startswith("--"):
        if not any({w for w in words if w.startswith("--")} <= options for options in commands.values()):
            return False
    elif words[0] == "python":
        return (ROOT / (words[2].replace(".", "/") + ".py")).is_file()
    else:
        return _exists(text)
    for option, value in pairwise(words):
        if option in values:
            given = tuple(value.split(",")) if option == "--distill" else value
            if not values[option](given):
                return False
        elif option == "--model-option":
            name, _, setting = value.partition("=")
            families = {"survival": "resnet20", "react": "resnet20", "experts": "tfc"}
            model = families.get(name, families.get(setting, "lenet5"))
            number = {"survival": float, "experts": int}.get(name, str)
            create_model(f"{model}-{'w1a1' if setting == 'react' else 'w2a2'}", **{name: number(setting)})
    return True


def _exists(text: str) -> bool:
    if text.startswith(("quant.", "flows.")):
        parts = text.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found = import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for name in parts[cut:]:
                found = getattr(found, name)
            return True
        return False
    if "=" in text:  # an option of a method, or of a network
        name, _, value = text.partition("=")
        return name == "activation" or (any(name in method.options for method in METHODS.values()) and bool(value))
    models = {name.partition("-w")[0] for name in list_models()}
    named = {*schemes.list(), *models, *METHODS, *KERNELS}
    if text in named:
        return True
    if (ROOT / text).is_file():
        return True
    if text.startswith("tfc-"):
        return bool(create_model(text))
    try:
        return bool(ties(text))  # a structure, as p4
    except QuantError:
        return False
