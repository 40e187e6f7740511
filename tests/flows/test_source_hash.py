"""The hash of the code that a step uses: changed code always changes it, and docstrings and comments never do."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from flows.config import STEPS
from flows.source_hash import code_of, code_of_packages, files_of

ROOT = Path(str(files("flows"))).parent
ALL = {*STEPS, "compare_finn", "power"}
STEP_MODULES = [f"flows.steps.{name}" for name in (*STEPS, "compare_finn", "power")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of both packages."""
    root = tmp_path_factory.mktemp("sources")
    for package in ("hw", "flows"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def original(copy):
    """The hash of every step."""
    return {module: code_of([module], copy) for module in STEP_MODULES}


def test_a_copy_has_the_same_hash(copy):
    assert code_of(["flows.steps.rtl"], copy) == code_of(["flows.steps.rtl"])


def test_docstrings_and_comments_do_not_count(copy, original):
    texts = {path: path.read_text() for path in copy.rglob("*.py")}
    for path, text in texts.items():
        path.write_text('"""Another docstring.' + text[3:] + "\n# A comment.\n" if text.startswith('"""') else text)
    assert {module: code_of([module], copy) for module in STEP_MODULES} == original
    for path, text in texts.items():
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed", "unchanged"),
    [
        # The lowering: every step works on its graph.
        ("hw/lowering/rounding.py", "class Product", "class Product2", ALL, set()),
        # The cycle model: not what comes before the folding, nor the RTL of a design point. The emulator's step times
        # the frames that leave a network early.
        ("hw/timing/cycles.py", "def simulate", "def simulate2", {"fold", "emulate", "simulate"}, {"lower", "rtl"}),
        # Place and route: what comes before the image.
        ("hw/synth/nextpnr.py", "def pack", "def pack2", {"place"}, {"lower", "emulate", "fold"}),
        # A module of the cells is read by its name from the folder of the kernels.
        ("hw/kernels/cells/bf_delay.sv", "endmodule", "endmodule // x", ALL, set()),
        (
            "hw/boards/shell/bf_power_on.sv",
            "endmodule",
            "endmodule // x",
            {"synthesise", "place", "netlist"},
            {"lower", "emulate"},
        ),
        # A header of the emulator's and the timing's C++.
        ("hw/native/array.hpp", "#", "// x\n#", {"emulate", "simulate"}, set()),
        ("hw/simulation/harness.cpp", "main", "main2", {"simulate", "netlist"}, {"lower", "fold"}),
        # The command line and the report are no step's.
        ("flows/cli/render.py", "def built", "def built2", set(), ALL),
        ("flows/report/page.py", "def write", "def write2", set(), ALL),
    ],
)
def test_changed_code_counts_for_the_steps_that_use_it(copy, original, file, old, new, changed, unchanged):
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1))
    after = {module: code_of([module], copy) for module in STEP_MODULES}
    (copy / file).write_text(text)
    found = {module.rpartition(".")[2] for module in STEP_MODULES if original[module] != after[module]}
    assert found >= changed
    assert not found & unchanged


def test_kernels_that_are_found_by_their_folder_are_used(copy):
    assert Path("hw/kernels/max_pool/kernel.py") in files_of(["flows.steps.lower"], copy)
    assert Path("flows/cli/main.py") not in files_of(STEP_MODULES, copy)


def test_an_import_in_a_function_is_used(tmp_path):
    for name in ("hw", "flows"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "hw/a.py").write_text("def f():\n    from hw import b\n    return b\n")
    (tmp_path / "hw/b.py").write_text("from .c import x\n")
    (tmp_path / "hw/c.py").write_text("x = 1\n")
    (tmp_path / "hw/d.py").write_text("y = 1\n")
    names = ["hw/__init__.py", "hw/a.py", "hw/b.py", "hw/c.py"]
    assert files_of(["hw.a"], tmp_path) == list(map(Path, names))
    before = code_of(["hw.a"], tmp_path)
    (tmp_path / "hw/d.py").write_text("y = 2\n")
    assert code_of(["hw.a"], tmp_path) == before
    (tmp_path / "hw/c.py").write_text("x = 10\n")
    assert code_of(["hw.a"], tmp_path) != before
    with pytest.raises(KeyError, match=r"hw\.nix"):
        code_of(["hw.nix"], tmp_path)


def test_the_code_of_packages_that_provide_kernels_counts(tmp_path, monkeypatch):
    without = code_of_packages()
    shutil.copytree(Path(__file__).parents[1] / "data" / "negate", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    original = code_of_packages()
    assert original != without
    kernel = tmp_path / "site/negate_plugin/kernel.py"
    text = kernel.read_text()
    kernel.write_text(f"# A comment.\n{text}")
    assert code_of_packages() == original
    kernel.write_text(f"{text}\nADDED = 1\n")
    assert code_of_packages() != original
    kernel.write_text(text)
    assert code_of_packages() == original
    source = tmp_path / "site/negate_plugin/negate.sv"
    source.write_text(f"{source.read_text()}\n")
    assert code_of_packages() != original
