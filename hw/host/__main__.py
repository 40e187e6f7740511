"""Runs a model on its board: ``python DIR/driver X.npy [-o Y.npy] [--port PORT]``. Needs Python, NumPy and pyserial.

Frames have the values that the model was trained on, in a ``.npy`` file, or as the rows of a ``.csv`` table; those of
several inputs in a ``.npz`` file. ``--benchmark N`` runs N frames at full rate inside the image, where the build made
it for that.

A build leaves a copy of this package in its folder ``driver``, with the model's ``model.json``. To use it in a program
of your own, put the build folder on ``sys.path``, import from ``driver`` and do as ``main`` does.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

if not __package__:  # ``python DIR/driver`` runs this file without its package (PEP 366).
    folder = Path(__file__).resolve().parent
    sys.path.insert(0, str(folder.parent))
    __package__ = folder.name
    __import__(__package__)

from .arrays import save_array, save_arrays
from .boards import open_board
from .driver import Driver
from .errors import BitfabricError, UsageError
from .files import parse_json, read_text
from .interface import Interface
from .meaning import classes
from .tables import load_batch
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


def _benchmark(driver: Driver, count: int, frames: Sequence[np.ndarray], beats: Sequence[int]) -> None:
    """Replay frames inside the image, and print its rate and the checksum of its outputs."""
    done = driver.benchmark(count, *frames, beats=beats, progress=progress)
    print(
        f"{done.frames} frames of {done.distinct} different ones in {done.cycles} cycles at {done.clock_hz / 1e6:g} MHz"
    )
    print(f"{done.fps:.0f} frames/s; checksum of all outputs {done.checksum:08x}, as one frame at a time")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Run frames on the board that holds this model's image.")
    parser.add_argument("frames", metavar="X.npy", help="frames in the model's own layout, or a table (.csv)")
    parser.add_argument("-o", "--out", metavar="Y.npz", help="file for the outputs (.npy where there is one)")
    parser.add_argument("--port", help="port of the link (default: look for the board)")
    parser.add_argument("--baud", type=int, help="rate of the link (default: the image's)")
    parser.add_argument("--benchmark", type=int, metavar="N", help="replay N frames at full rate inside the image")
    options = parser.parse_args()
    model = Path(__file__).parent / "model.json"
    try:
        interface = _interface(model)
        shapes = {each.name: each.shape for each in interface.inputs}
        ints = interface.encode(load_batch(Path(options.frames), shapes, interface.meaning.feature_names))
        transport = open_board(interface, options.port, options.baud)
        driver = Driver(transport, interface.input_formats, interface.output_formats, interface.model)
        if options.benchmark is not None:
            _benchmark(driver, options.benchmark, ints, interface.beats)
            return
        started = time.monotonic()
        outputs = interface.decode(driver.run(*ints, progress=progress))
        counters = driver.status().counters
        if options.out is not None:
            _save(Path(options.out), outputs)
    except (BitfabricError, OSError, MemoryError, ValueError) as error:
        sys.exit(f"error: {one_line(error) or type(error).__name__}")
    seconds = time.monotonic() - started
    print(f"{len(ints[0])} frames in {seconds:.2f} s, {driver.session.resent} sent again", file=sys.stderr)
    print(", ".join(f"{name} {value}" for name, value in counters.items()), file=sys.stderr)
    if interface.meaning.task == "classification" and interface.meaning.class_names:
        named = interface.meaning.named(classes(outputs))
        print("classes", *map(one_line, named[:40]), *(["..."] if len(named) > 40 else []))
    if options.out is None:
        for name, values in outputs.items():
            print(one_line(name), np.array2string(values, threshold=40, edgeitems=4))


if __name__ == "__main__":
    main()
