"""FINN's Python execution of a graph in its dialect. It needs the package ``finn``, but no Vivado and no settings."""

import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from hw.finn.dialect import general
from hw.host.errors import BitfabricError, UsageError
from hw.ir.frames import Batch


def require_finn() -> None:
    """Raise BitfabricError with the remedy where FINN cannot be imported."""
    try:
        import finn.transformation.streamline  # noqa: F401  the import is the test
    except ImportError as error:
        missing = error.name or "finn"
        raise BitfabricError(
            f"FINN cannot be used, since the Python package {missing.partition('.')[0]} is missing; "
            "install it with `pip install 'bitfabric[finn]'`, or choose another engine"
        ) from error


class _Messages(logging.Handler):
    """Collects FINN's log messages, each as one line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(_one_line(record.getMessage()))


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def calling_finn(path: Path | str) -> Iterator[list[str]]:
    """Run FINN on ``path`` without its log and warnings; its exceptions become BitfabricErrors of one line.

    Yields the list that collects FINN's log messages.
    """
    logger = logging.getLogger("finn_logger")
    handler, handlers, propagate = _Messages(), logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield handler.lines
    except BitfabricError:
        raise
    except Exception as error:  # FINN and qonnx raise exceptions of any type, AssertionError included
        where = traceback.extract_tb(error.__traceback__)[-1].name
        raise mapping_error(path, _one_line(str(error)) or f"{type(error).__name__} in its {where}") from error
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def mapping_error(path: Path | str, reason: str) -> BitfabricError:
    """The error that says why FINN cannot map a model."""
    return BitfabricError(f"FINN cannot map {path}: {reason.rstrip('. ')}; use the open back end for it")


def execute(model: onnx.ModelProto, frames: Batch, name: Path | str = "the graph") -> np.ndarray:
    """FINN's Python execution of a graph in its dialect for frames ``(N, *shape)``, one after the other.

    ``name`` names the graph in errors. Raises BitfabricError where FINN is missing, or cannot execute the graph.
    """
    if isinstance(frames, dict):
        raise UsageError(f"FINN's Python execution takes one input; {name} has {len(frames)}")
    require_finn()
    from qonnx.core.modelwrapper import ModelWrapper

    with calling_finn(name):
        from finn.core.onnx_exec import execute_onnx

        wrapper = ModelWrapper(general(model))
        source, result = wrapper.graph.input[0].name, wrapper.graph.output[0].name
        shape = tuple(wrapper.get_tensor_shape(source))
        results = [
            execute_onnx(wrapper, {source: frame.reshape(shape).astype(np.float32)})[result]
            for frame in np.asarray(frames)
        ]
    return np.concatenate(results)
