"""Quantization of float ONNX files by ONNX Runtime's quantizer, into QDQ files that the QDQ front end reads."""

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from flows.float_rewriting import drop_output_quantizer, fold_factors, make_means_exact
from flows.frames import classes, score
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import scratch_folder, write_bytes
from hw.host.text import one_line
from hw.lowering.domains import LINEAR_OPS, QUANTIZER_OPS
from hw.lowering.gate.boundary import boundary
from hw.lowering.gate.reading import read_file
from hw.lowering.qonnx import prepare
from hw.model import Qdq
from hw.verification.execution import quiet

WIDTHS = (4, 8, 16)
CALIBRATION_FRAMES = 256
"""Frames that ranges are measured on: the file is executed on one at a time."""
COMPARED_FRAMES = 64
"""Frames on which the hardware's graph is compared with ONNX Runtime."""
OPSET = 21
"""ONNX's operator set from which its own quantizers have 4 and 16 bits."""
_SIGNED = {4: QuantType.QInt4, 8: QuantType.QInt8, 16: QuantType.QInt16}
_UNSIGNED = {4: QuantType.QUInt4, 8: QuantType.QUInt8, 16: QuantType.QUInt16}
_CALIBRATION = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


@dataclass(frozen=True)
class QuantizedOnnx:
    """What the quantization of a float file costs, on ``frames`` frames.

    ``agreement`` is the share of frames whose largest output is that of the float file; ``noise`` the mean square of
    the change of the outputs over that of the outputs; accuracies are None without labels. ``mismatches`` counts the
    integers of the hardware's emulator that differ from ONNX Runtime's, of ``elements``; ``explained`` those that
    float32 rounding explains.
    """

    model: str
    weight_bits: int
    act_bits: int
    per_channel: bool
    symmetric: bool
    method: str
    calibration_frames: int
    frames: int
    agreement: float
    noise: float
    float_accuracy: float | None
    accuracy: float | None
    elements: int
    mismatches: int
    explained: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def quantize_onnx(
    source: Path,
    out: Path,
    calibration: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    weight_bits: int = 8,
    act_bits: int = 8,
    per_channel: bool = False,
    symmetric: bool = False,
    method: str = "minmax",
) -> QuantizedOnnx:
    """Writes ``out``, a QDQ file, from a float ONNX file with one input and one output, and compares the two.

    ``calibration`` are frames (N, ...) as the file takes them: the first 256 measure the ranges, all are compared.
    ``labels`` (N,) add accuracies. Weights are signed and symmetric; activations are unsigned with a zero point, or
    signed and ``symmetric``. The output is not quantized. The dataflow graph of the result is compared with ONNX
    Runtime before anything is written.

    Raises UsageError for a file or frames that cannot be used, and BitfabricError where ONNX Runtime, or the hardware,
    cannot do it.
    """
    if weight_bits not in WIDTHS or act_bits not in WIDTHS:
        raise UsageError(
            f"ONNX Runtime's quantizer has 4, 8 and 16 bits, not {weight_bits} for weights and {act_bits} for "
            "activations; take one of these, or quant.quantize for a network of PyTorch, which has 2 to 16"
        )
    if method not in _CALIBRATION:
        raise UsageError(f"no method {method!r} to measure ranges; choose {', '.join(_CALIBRATION)}")
    proto, _ = read_file(source)
    if {node.op_type for node in proto.graph.node} & {*QUANTIZER_OPS, *LINEAR_OPS}:
        raise UsageError(f"{source} has quantizers already; give it to bitfabric build as it is")
    with boundary(str(source)):
        single = prepare(proto, 1).model
    frames = _frames(source, single, calibration, labels)
    settings: dict[str, Any] = {
        "per_channel": per_channel,
        "activation_type": (_SIGNED if symmetric else _UNSIGNED)[act_bits],
        "weight_type": _SIGNED[weight_bits],
        "calibrate_method": _CALIBRATION[method],
        "extra_options": {
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": True,
            "ForceQuantizeNoInputCheck": True,  # also the input of a pool, a Transpose, ...
        },
    }
    quantized = _quantized(
        source, single, frames[:CALIBRATION_FRAMES], 13 if weight_bits == act_bits == 8 else OPSET, settings
    )
    frontend = Qdq(quantized, str(out))
    agreement = frontend.compare(frontend.graph, frames[:COMPARED_FRAMES])
    with quiet():
        expected, found = (_execute(model, frames) for model in (single, quantized))
    power = float(np.mean(np.square(expected, dtype=np.float64))) or 1.0
    result = QuantizedOnnx(
        model=str(out),
        weight_bits=weight_bits,
        act_bits=act_bits,
        per_channel=per_channel,
        symmetric=symmetric,
        method=method,
        calibration_frames=min(len(frames), CALIBRATION_FRAMES),
        frames=len(frames),
        agreement=float(np.mean(classes(found) == classes(expected))),
        noise=float(np.mean(np.square(found - expected, dtype=np.float64))) / power,
        float_accuracy=None if labels is None else score(expected, labels),
        accuracy=None if labels is None else score(found, labels),
        elements=agreement.elements,
        mismatches=agreement.mismatches,
        explained=agreement.explained,
    )
    write_bytes(out, quantized.SerializeToString())
    return result


def _frames(source: Path, model: onnx.ModelProto, given: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The frames as the file takes them. Raises UsageError where they do not fit."""
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise UsageError(
            f"{source} has {len(model.graph.input)} inputs and {len(model.graph.output)} outputs; bitfabric quantize "
            "takes files with one of each: cut the others off"
        )
    value = model.graph.input[0]
    if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise UsageError(f"{source} does not take float32 numbers; export it in float32")
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:]
    if not len(given) or given.shape[1:] != shape:
        expected = f"(N, {', '.join(map(str, shape))})"
        raise UsageError(
            f"{source} takes frames {expected}, and the calibration frames are {given.shape}; reshape them"
        )
    if given.dtype.kind not in "fiub":
        raise UsageError(f"the calibration frames are {given.dtype}, and {source} takes numbers; convert them")
    if labels is not None and labels.shape != (len(given),):
        raise UsageError(f"{len(given)} frames need as many labels, and these are {labels.shape}")
    frames = given.astype(np.float32)
    finite = np.isfinite(frames.reshape(len(frames), -1)).all(axis=1)
    if not finite.all():
        raise UsageError(f"calibration frame {int(np.argmin(finite))} has a value that is not finite; correct it")
    return frames


def _quantized(
    source: Path, single: onnx.ModelProto, frames: np.ndarray, opset: int, settings: dict[str, Any]
) -> onnx.ModelProto:
    """The file with quantizers, by ONNX Runtime. Raises BitfabricError where it fails."""
    with scratch_folder() as folder, _by_onnx_runtime(source):
        folded = onnx.ModelProto()
        folded.CopyFrom(single)
        fold_factors(folded)
        onnx.save(folded, folder / "float.onnx")
        quant_pre_process(folder / "float.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
        prepared = onnx.load(folder / "prepared.onnx")
        if next(each.version for each in prepared.opset_import if each.domain in ("", "ai.onnx")) < opset:
            prepared = onnx.version_converter.convert_version(prepared, opset)
        onnx.save(prepared, folder / "prepared.onnx")
        quantize_static(
            folder / "prepared.onnx", folder / "quantized.onnx", _Reader(prepared.graph.input[0].name, frames),
            quant_format=QuantFormat.QDQ, **settings,
        )  # fmt: skip
        quantized = onnx.load(folder / "quantized.onnx")
    if not any(node.op_type in LINEAR_OPS for node in quantized.graph.node):
        raise UsageError(f"{source} has no layer with weights or sums that could be quantized; nothing is left to do")
    drop_output_quantizer(quantized, prepared)
    make_means_exact(quantized)
    return quantized


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives ONNX Runtime the frames, one at a time."""

    def __init__(self, name: str, frames: np.ndarray) -> None:
        self._feeds = iter({name: frame[None]} for frame in frames)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@contextmanager
def _by_onnx_runtime(source: Path) -> Iterator[None]:
    """Inside, ONNX Runtime prints nothing, and whatever it raises is one line."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except (BitfabricError, OSError, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime raises many types
        reason = one_line(str(error).strip() or type(error).__name__)
        raise BitfabricError(
            f"ONNX Runtime cannot quantize {source}: {reason}; try other widths, or quantize it in PyTorch "
            "(quant.quantize)"
        ) from error
    finally:
        logging.disable(disabled)


def _execute(model: onnx.ModelProto, frames: np.ndarray) -> np.ndarray:
    """The outputs of ONNX Runtime without optimisation of the graph, frame by frame."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = model.graph.input[0].name
    return np.concatenate([session.run(None, {name: frame[None]})[0] for frame in frames])
