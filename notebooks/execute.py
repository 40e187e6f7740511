"""Runs notebooks and stores them with their outputs: ``python notebooks/execute.py [NAME ...]``, by default all.

Each runs in a folder of its own, which is removed afterwards. Execution times and identifiers of displays are left
out, so that a run that shows the same leaves the same file.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def execute(path: Path) -> nbformat.NotebookNode:
    """Return the notebook of a file with the outputs of a run. Raises CellExecutionError where a cell fails."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(
            notebook, kernel_name="python3", timeout=600, record_timing=False, resources={"metadata": {"path": folder}}
        ).execute()
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.pop("transient", None)
    return notebook


def main(names: list[str]) -> None:
    for path in sorted(HERE.glob("*.ipynb")):
        if not names or path.stem in names or path.name in names:
            nbformat.write(execute(path), path)
            print(f"{path.name}: {path.stat().st_size / 1024:,.0f} KiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
