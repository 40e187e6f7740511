"""Every notebook runs from a clean state, and is stored with the outputs of such a run."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SLOW = (
    "05_conv_net", "06_smaller_network", "07_lookup_networks", "08_eight_ways_smaller", "10_own_network_and_loop",
    "11_own_data", "12_virtual_board", "13_anomaly_detection", "14_which_network_fits",
)  # fmt: skip
"""What these use, other tests of `make test` use too."""
NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in SLOW else ())
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]


def kinds(cell):
    """What a cell shows: the kinds of its outputs."""
    shown = [output for output in cell.outputs if output.get("name") != "stderr"]
    return {str(sorted(output["data"])) if "data" in output else output.output_type for output in shown}


@pytest.fixture(scope="module")
def fonts():
    """Matplotlib's list of fonts: the first process of a user makes it, and says so where that takes its time."""
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.usefixtures("fonts")
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    assert path.stat().st_size < 400_000
    notebook = nbformat.read(path, as_version=4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in codes:
        cell.outputs = []
    NotebookClient(
        notebook, kernel_name="python3", timeout=1800, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output for cell in codes for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output.text for output in shown if output.output_type == "stream" and output.name == "stderr"]
    before = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert list(map(kinds, before)) == list(map(kinds, codes)), "run `make notebooks`"
