"""Runs a model on its board: ``python DIR/driver X.npy [-o Y.npy] [--port PORT]``. Needs Python, NumPy and pyserial.

Frames have the values that the model was trained on, in a ``.npy`` file, or as the rows of a ``.csv`` table.

A build leaves a copy of this package in its folder ``driver``, with the model's ``model.json``. To use it in a program
of your own, put the build folder on ``sys.path``, import from ``driver`` and do as ``main`` does.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

if not __package__:  # ``python DIR/driver`` runs this file without its package (PEP 366).
    folder = Path(__file__).resolve().parent
    sys.path.insert(0, str(folder.parent))
    __package__ = folder.name
    __import__(__package__)

from .arrays import save_array, save_arrays
from .driver import Driver
from .errors import BitfabricError, UsageError
from .files import parse_json, read_text
from .interface import Interface
from .meaning import classes
from .ports import find_port, open_port
from .tables import load_frames
from .text import one_line


def progress(done: int, count: int) -> None:
    """Print a progress bar, on a terminal only."""
    if sys.stderr.isatty():
        width = 40 * done // count
        end = "\n" if done == count else ""
        print(f"\r[{'#' * width}{'.' * (40 - width)}] {done} of {count} frames", end=end, file=sys.stderr, flush=True)


def _interface(path: Path) -> Interface:
    """The model's interface. Raises UsageError for a file that is damaged."""
    try:
        return Interface.from_json(parse_json(read_text(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path} is damaged ({reason}); copy the driver folder of the build again") from None


def _save(path: Path, outputs: dict[str, np.ndarray]) -> None:
    """Write the outputs to a ``.npz`` file, or the only one to a ``.npy`` file."""
    if path.suffix == ".npz":
        save_arrays(path, outputs)
    else:
        save_array(path, next(iter(outputs.values())))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Run frames on the board that holds this model's image.")
    parser.add_argument("frames", metavar="X.npy", help="frames in the model's own layout, or a table (.csv)")
    parser.add_argument("-o", "--out", metavar="Y.npz", help="file for the outputs (.npy where there is one)")
    parser.add_argument("--port", help="serial port (default: look for the board)")
    parser.add_argument("--baud", type=int, help="baud rate (default: the image's)")
    options = parser.parse_args()
    model = Path(__file__).parent / "model.json"
    try:
        interface = _interface(model)
        baud = options.baud or interface.baud
        ints = interface.encode(load_frames(Path(options.frames), interface.shape, interface.meaning.feature_names))
        transport = open_port(options.port, baud) if options.port else find_port(baud, interface.model, interface.usb)
        driver = Driver(transport, interface.input_format, interface.output_formats, interface.model)
        started = time.monotonic()
        outputs = interface.decode(driver.run(ints, progress))
        counters = driver.status().counters
        if options.out is not None:
            _save(Path(options.out), outputs)
    except (BitfabricError, OSError, MemoryError, ValueError) as error:
        sys.exit(f"error: {one_line(error) or type(error).__name__}")
    seconds = time.monotonic() - started
    print(f"{len(ints)} frames in {seconds:.2f} s, {driver.session.resent} sent again", file=sys.stderr)
    print(", ".join(f"{name} {value}" for name, value in counters.items()), file=sys.stderr)
    if interface.meaning.task == "classification" and interface.meaning.class_names:
        named = interface.meaning.named(classes(outputs))
        print("classes", *map(one_line, named[:40]), *(["..."] if len(named) > 40 else []))
    if options.out is None:
        for name, values in outputs.items():
            print(one_line(name), np.array2string(values, threshold=40, edgeitems=4))


if __name__ == "__main__":
    main()
