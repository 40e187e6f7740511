"""Exports a trained network to a QONNX file that computes the same integers."""

import copy
import json
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import GiveUniqueParameterTensors, RemoveStaticGraphInputs, RemoveUnusedTensors
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.quant_constant_folding import FoldTransposeIntoQuantInit

from quant.errors import QuantError
from quant.files import replacing
from quant.lookup.tables import TableLayer
from quant.models.network import Network, integer_type
from quant.qonnx.calls import Running, call_once, outputs_of
from quant.qonnx.exportable import Exportable
from quant.qonnx.float64 import QUANTIZERS
from quant.qonnx.handlers import PLACE, Manager, prepare
from quant.qonnx.module_names import scopes, state_scopes
from quant.qonnx.operators import check_modules, check_operators
from quant.qonnx.verify import Verification, verify
from quant.qonnx.windows import with_explicit_windows
from quant.schemes.scheme import Scheme
from quant.transforms import Transform

MEANING = "bitfabric.data"
"""Key of the metadata with the task and the names of classes and features, as JSON."""


def export(
    model: torch.nn.Module,
    path: str | os.PathLike[str],
    frames: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
    in_range: tuple[float, float] | None = None,
) -> Verification:
    """Writes ``model`` as a cleaned QONNX file and verifies it against torch. The model itself is not changed.

    ``model`` is a ``quant`` network, or any module of Brevitas layers that takes one tensor and returns a tensor, or
    several in a tuple, a list or a dict. The export uses a copy on the CPU in eval mode. The file has one input
    ``global_in`` (1, *input_shape) float32 and the outputs ``global_out``, ``global_out_1``, ... float32 (qonnx's
    names). Weights are the quantized values that training used, for any quantizer; modules that are not called are left
    out. Nodes are named after their modules: ``hidden_0_linear_MatMul``; nodes of further calls of the same module end
    in ``_1``, ``_2``, ... Operators are those of ``quant.qonnx.operators``.

    Layers of tables (``quant.lookup``) are plain ONNX, described in docs/ir.md. Where a layer or an encoder reads the
    input without a quantizer before it, the input is annotated with the smallest type of whole numbers that holds
    ``in_range``: UINT8 for (0, 255).

    ``frames`` (N, *input_shape) are executed in torch and with qonnx. Default: the examples of a network that has some
    (``quant.quantize``), else 64 random frames, which are whole numbers if both ends of ``in_range`` are, else
    uniformly distributed. ``input_shape`` (without the batch) and ``in_range`` default to those of the network. Another
    module needs both of them, or ``frames``.

    Raises QuantError if any integer of an activation quantizer differs (then no file is written), and for a layer that
    no file or no hardware can express, which the message names with the remedy. An existing file is replaced only by a
    complete, verified one.
    """
    name = model.name if isinstance(model, Network) else type(model).__name__
    schemes = dict.fromkeys(getattr(module, "scheme", None) for module in model.modules())
    for scheme in schemes:
        if isinstance(scheme, Scheme):
            scheme.check_export(model)
    target = Path(path)
    if not target.parent.is_dir():
        raise QuantError(f"cannot write {target}: there is no folder {target.parent}", status=2)
    checked = _frames(model, name, frames, input_shape, in_range)
    frozen = copy.deepcopy(model).cpu().eval()
    exported, nodes = _exported(frozen, name, torch.from_numpy(checked[:1]))
    try:
        wrapper = _clean(exported)
        left = {node.name for node in wrapper.graph.node}  # others computed constants
        nodes = {path: [each for each in names if each in left] for path, names in nodes.items()}
        if in_range is None and isinstance(model, Network) and not model.normalizes and model.example_frames is None:
            in_range = model.in_range
        _annotate_input(wrapper, in_range)
        _describe(wrapper, model)
        verification = verify(name, frozen, wrapper, nodes, checked)
    except QuantError:
        raise
    except Exception as error:  # qonnx and ONNX Runtime raise any type
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise QuantError(
            f"export of {name}: the file cannot be executed, so it was not written ({type(error).__name__}: {reason}); "
            "please report this model"
        ) from error
    with replacing(target) as part:
        wrapper.save(str(part))
    return verification


def check_export(network: Network) -> None:
    """Raises QuantError for a layer that no file or no hardware can express, as ``export`` does; for networks that are
    not trained yet."""
    _exported(copy.deepcopy(network).cpu().eval(), network.name, torch.zeros(1, *network.input_shape))


def _exported(frozen: torch.nn.Module, name: str, frame: torch.Tensor) -> tuple[onnx.ModelProto, dict[str, list[str]]]:
    """The file of a model, which is changed for it, and the nodes of its modules by path. Raises QuantError for a layer
    that no file or no hardware can express."""
    try:
        called = call_once(frozen, frame)
        for place, module in called.items():
            if isinstance(module, Transform):
                raise QuantError(f"its layer {place} cannot be exported: {module.why_not_exported}", status=2)
        tables = any(isinstance(module, TableLayer) for module in called.values())
        check_modules(called, quantized=prepare(frozen, called) or tables)
        exported = _to_onnx(frozen, frame)
        nodes = _name_nodes(exported, {path for path, _ in frozen.named_modules()})
        check_operators(exported, called)
    except QuantError as error:
        raise QuantError(f"export of {name}: {error}", error.status) from error
    return exported, nodes


def _describe(wrapper: ModelWrapper, model: torch.nn.Module) -> None:
    """States in the file's metadata what the numbers of frames and outputs mean, where the network knows it."""
    if not isinstance(model, Network):
        return
    known: dict[str, Any] = {"class_names": model.class_names, "feature_names": model.feature_names}
    if model.target_scale is not None:
        known |= {"task": model.task, "scales": model.target_scale.tolist()}
    if stated := {name: value for name, value in known.items() if value is not None}:
        wrapper.model.metadata_props.add(key=MEANING, value=json.dumps(stated))


def _frames(
    model: torch.nn.Module,
    name: str,
    frames: np.ndarray | None,
    input_shape: tuple[int, ...] | None,
    in_range: tuple[float, float] | None,
) -> np.ndarray:
    """Returns the frames for the verification, (N, *input_shape) float32."""
    if isinstance(model, Network):
        input_shape = model.input_shape if input_shape is None else input_shape
        in_range = model.in_range if in_range is None else in_range
        frames = model.example_frames if frames is None else frames
    if frames is not None:
        checked = np.asarray(frames, dtype=np.float32)
        if not len(checked) or (input_shape is not None and checked.shape[1:] != tuple(input_shape)):
            raise QuantError(
                f"{name} takes frames of shape (N, {', '.join(map(str, input_shape or ('...',)))}), "
                f"not {checked.shape}: give at least one frame of that shape",
                status=2,
            )
        return checked
    if input_shape is None or in_range is None:
        raise QuantError(
            f"{name} does not say what it takes: give frames to check it with, or input_shape and in_range", status=2
        )
    random, shape, (low, high) = np.random.default_rng(0), (64, *input_shape), in_range
    if isinstance(model, Network) and model.normalizes:
        return random.uniform(*model.data_range, shape).astype(np.float32)
    if low == int(low) and high == int(high):
        return random.integers(int(low), int(high), shape, endpoint=True).astype(np.float32)
    return random.uniform(low, high, shape).astype(np.float32)


@contextmanager
def _silence() -> Iterator[None]:
    """Context that suppresses the exporters' progress lines, warnings and log records."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    with open(os.devnull, "w") as nowhere:
        # Torch's C++ code prints warnings there and, if an export fails, the whole graph.
        for descriptor in kept:
            os.dup2(nowhere.fileno(), descriptor)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for descriptor, copied in kept.items():
            os.dup2(copied, descriptor)
            os.close(copied)
        logging.disable(previous)


def _to_onnx(frozen: torch.nn.Module, frame: torch.Tensor) -> onnx.ModelProto:
    # A copy, because a failed export leaves a Brevitas model in export mode. TorchScript's exporter is used
    # (dynamo=False), because it names nodes after modules and supports residual networks.
    model = copy.deepcopy(frozen)
    # An output that is another one too, or the input, gets a node of its own.
    model.register_forward_hook(lambda _module, _inputs, output: tuple(outputs_of(output)))
    running = Running(model)
    try:
        with _silence(), Exportable(), tempfile.TemporaryDirectory() as folder:
            exported: onnx.ModelProto = Manager.export(model, frame, f"{folder}/model.onnx", dynamo=False)
    except QuantError:
        raise
    except Exception as error:  # the user's layers and torch's exporter can raise any type
        raise running.failure(error) from error
    return exported


def _name_nodes(model: onnx.ModelProto, modules: Collection[str]) -> dict[str, list[str]]:
    """Gives all nodes unique names after their modules, and states the modules in the nodes' metadata, as torch.onnx's
    newer exporter does. Returns the node names of each quantizer, encoder and layer of tables by its path.

    ``modules`` are the paths of all modules.
    """
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        name = re.sub(r"[./]+", "_", node.name.strip("/"))
        found_in = scopes(node.name, modules)
        place = next((each for each in node.attribute if each.name == PLACE), None)
        if place is not None:
            path = place.s.decode()
            node.attribute.remove(place)
            name = f"{path.replace('.', '_')}_{node.op_type}"
            parts = path.split(".")
            found_in = ["", *(".".join(parts[:end]) for end in range(1, len(parts) + 1)), node.op_type]
        unique = next(each for each in _numbered(name) if each not in taken)
        taken.add(unique)
        node.name = unique
        state_scopes(node, found_in)
        if place is not None:
            found.setdefault(path, []).append(unique)
        elif len(found_in) > 2 and (node.op_type == "GreaterOrEqual" or _reads_tables(node)):
            found.setdefault(found_in[-2], []).append(unique)
    return found


def _reads_tables(node: onnx.NodeProto) -> bool:
    """Returns whether a node gathers along the first axis, as of the tables of a layer."""
    return node.op_type == "Gather" and not any(each.name == "axis" and each.i for each in node.attribute)


def _annotate_input(wrapper: ModelWrapper, in_range: tuple[float, float] | None) -> None:
    """States the type of an input of whole numbers that an encoder compares, or a layer multiplies, as they are."""
    found = None if in_range is None else integer_type(in_range)
    if found is None or not _is_read_as_it_is(wrapper):
        return
    bits, signed = found
    wrapper.set_tensor_datatype("global_in", DataType[f"{'INT' if signed else 'UINT'}{bits}"])


def _is_read_as_it_is(wrapper: ModelWrapper) -> bool:
    """Returns whether anything that is no element-wise function, move or quantizer reads the input's own values."""
    reached = {"global_in"}
    for node in wrapper.graph.node:
        if reached.isdisjoint(node.input) or node.op_type in QUANTIZERS:
            continue
        if node.op_type in ("GreaterOrEqual", "Conv", "ConvTranspose", "MatMul", "Gemm"):
            return True
        reached.update(node.output)
    return False


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        yield f"{name}_{number}"
        number += 1


def _clean(model: onnx.ModelProto) -> ModelWrapper:
    """Applies the transformations of ``qonnx.util.cleanup``, except that nodes keep the names of their modules."""
    wrapper = ModelWrapper(model)
    for node in wrapper.graph.node:
        if node.op_type in QUANTIZERS:
            node.domain = "qonnx.custom_op.general"
    wrapper = with_explicit_windows(wrapper.transform(InferShapes()))
    for transformation in (
        GiveUniqueParameterTensors(),
        FoldConstants(exclude_op_types=list(QUANTIZERS)),
        FoldTransposeIntoQuantInit(),
        RemoveUnusedTensors(),
        RemoveStaticGraphInputs(),
    ):
        wrapper = wrapper.transform(transformation)
    _name_tensors(wrapper.graph)
    return wrapper


def _name_tensors(graph: onnx.GraphProto) -> None:
    """Names tensors as qonnx's GiveReadableTensorNames, which fails at a node that reads one tensor twice."""
    names: dict[str, str] = {}
    initial = {each.name for each in graph.initializer}
    for node in graph.node:
        names.update({each: f"{node.name}_out{number}" for number, each in enumerate(node.output) if each})
        constants = [each for each in node.input if each in initial]
        names.update({each: f"{node.name}_param{number}" for number, each in enumerate(constants)})
    for kind, values in (("global_in", graph.input), ("global_out", graph.output)):
        names.update({each.name: f"{kind}_{number}" if number else kind for number, each in enumerate(values)})
    for node in graph.node:
        for tensors in (node.input, node.output):
            renamed = [names.get(each, each) for each in tensors]
            del tensors[:]
            tensors.extend(renamed)
    for each in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        each.name = names.get(each.name, each.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
