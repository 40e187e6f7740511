"""The examples of the documentation are right: commands are parsed and their names exist, Python is compiled and its
names are defined; those that take seconds run, in their order, with short trainings."""

import ast
import builtins
import contextlib
import io
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hw.boards.targets import find_target
from quant import create_model, schemes
from quant.data.named import NAMES
from tests import examples
from tests.examples import Example

COMMANDS = [each for page in examples.pages() for each in examples.commands(page)] + list(examples.helps())
SPANS = [each for page in examples.pages() for each in examples.spans(page)]
PYTHON = {page: list(examples.blocks(page, "python")) for page in examples.pages()}
ASSUMED = {
    "docs/compression.md": {"model"},
    "docs/explore.md": {"study"},
    "docs/float-networks.md": {"network", "x", "x_test", "y_test"},
}
"""Names that a page takes for granted: what the reader has."""


def test_there_are_examples_of_every_command() -> None:
    assert len(COMMANDS) > 100
    assert len(SPANS) > 50
    assert {each.words[1] for each in COMMANDS} == set(examples.program().commands)


def test_every_command_is_parsed_and_its_names_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def train_run(model: str, out: Path, config: object, **given: Any) -> dict[str, int]:
        tried.append(model)
        if ".py:" not in model:
            scheme = (
                schemes.get(given["scheme"], **given["scheme_options"]) if given["scheme_options"] else given["scheme"]
            )
            create_model(model, scheme, **given["model_options"])
        assert given["data"] in NAMES or "/" in given["data"] or Path(given["data"]).suffix, given["data"]
        return {"rank": 1}

    monkeypatch.setattr("quant.train_run", train_run)
    wrong = []
    for example in COMMANDS:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(typer.Exit):
                name, given = examples.parse(example)
                if target := given.get("target"):
                    find_target(target)
                if name in ("build", "estimate", "finn", "quantize") and (model := str(given.get("model", ""))):
                    assert model.endswith(".onnx"), f"{model} is no model file"
                if name == "train" and given["config_file"] is None:
                    examples.program().commands[name].callback(**given)
        except Exception as error:
            wrong.append(f"{example.place}: {example.text}: {error}")
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 40


def test_every_option_in_the_text_exists() -> None:
    wrong = []
    commands = examples.program().commands
    for example in SPANS:
        words = example.text.split()
        if words[1] in ("--help", "--version", "--install-completion"):
            continue
        if words[1] not in commands:
            wrong.append(f"{example.place}: {example.text}: no such command")
            continue
        known = {option for parameter in commands[words[1]].params for option in parameter.opts} | {"--help"}
        wrong += [
            f"{example.place}: {example.text}: no option {word}"
            for word in words[2:]
            if word.startswith("-") and word.partition("=")[0] not in known
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [page for page in PYTHON if PYTHON[page]])
def test_python_is_compiled_and_its_names_are_defined(page: str) -> None:
    defined = set(dir(builtins)) | ASSUMED.get(page, set())
    for example in PYTHON[page]:
        if ">>>" in example.text:  # doctest runs these (tests/test_docs.py)
            continue
        tree = ast.parse(example.text, example.place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = import_module(str(node.module))
                missing = [each.name for each in node.names if not hasattr(module, each.name)]
                assert not missing, (example.place, node.module, missing)
            elif isinstance(node, ast.Import):
                for each in node.names:
                    import_module(each.name)
        defined |= set(_stored(tree))
        loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert not loaded - defined, (example.place, loaded - defined)


def _stored(tree: ast.AST) -> Iterator[str]:
    """The names that a piece of Python defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]


ELSEWHERE = re.compile(
    r"mnist|cifar|toyadmos|--teacher a/"
    r"|^bitfabric (program|virtual|open|explore|finn|soft-errors)|--engine (board|finn)"
)
"""Commands that are not run: they need data, networks or hardware that are not here, do not end by themselves, or take
minutes."""
SHORT = {"train": ("--epochs", "2"), "compress": ("--epochs", "1"), "build": ("--stop-after", "rtl")}
"""What makes a command take seconds."""


def shortened(example: Example) -> list[str]:
    """The words of a command, with a training of an epoch or two, and a build that ends before synthesis."""
    words = example.words[1:]
    if name := SHORT.get(words[0]):
        option, value = name
        if option in words:
            place = words.index(option) + 1
            words[place] = value if option == "--epochs" else words[place]
        else:
            words += [option, value]
    return words


def files(folder: Path) -> None:
    """The reader's own files that the pages name."""
    from PIL import Image

    (folder / "net.py").write_text(next(each.text for each in PYTHON["docs/own-networks.md"]))
    random = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(12):
            grey = random.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(grey).save(folder / "photos" / kind / f"{number}.png")
    rows = ["id,length,width,species"] + [f"{n},{n % 7 + 0.5},{n % 5},{'abc'[n % 3]}" for n in range(60)]
    (folder / "features.csv").write_text("\n".join(rows))
    rows = ["rooms,age,price"] + [f"{n % 6},{n % 40},{n % 6 * 100.5 - n % 40}" for n in range(60)]
    (folder / "houses.csv").write_text("\n".join(rows))
    normal = random.normal(size=(80, 640))
    np.savez(folder / "sounds.npz", x_train=normal[:60], x_test=normal[60:], y_test=np.repeat([0, 1], 10))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command in this process, in a folder with the reader's files: (exit status, what it printed)."""
    from flows.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    files(tmp_path)

    def run(words: list[str]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bitfabric", *words])
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as left:
            main.main()
        return int(left.value.code or 0), said.getvalue()

    return run


RUN = (
    "docs/getting-started.md",
    "docs/building.md",
    "docs/training.md",
    "docs/data.md",
    "docs/own-networks.md",
    "docs/distillation.md",
    "docs/compression.md",
    "docs/export.md",
)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run_in_their_order(page: str, here: Any) -> None:
    if page == "docs/export.md":  # It goes on from a model.
        assert here(["train", "tfc-w1a1", "--epochs", "1", "-o", "run/"])[0] == 0
        shutil.copy("run/model.onnx", "model.onnx")
    done = 0
    for example in examples.commands(page):
        if not ELSEWHERE.search(example.text):
            status, said = here(shortened(example))
            assert status == 0, (example, said)
            done += 1
    assert done >= 2


PREPARED = {
    "docs/building.md": True,
    "docs/data.md": False,
    "docs/howto/brevitas.md": False,
    "docs/howto/ci.md": True,
    "docs/training.md": False,
}
"""Pages whose Python runs, and whether it goes on from a trained network."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PREPARED)
def test_the_python_of_a_page_runs(page: str, here: Any) -> None:
    if PREPARED[page]:
        assert here(["train", "tfc-w1a1", "--epochs", "1", "-o", "run/"])[0] == 0
        shutil.copy("run/model.onnx", "model.onnx")
    names: dict[str, Any] = {}
    for example in PYTHON[page]:
        text = example.text.replace('out="build/")', 'out="build/", stop_after="rtl")')
        exec(compile(text, example.place, "exec"), names)
    for name, value in names.items():
        if name.startswith("test_"):
            value()
