"""Exports a trained network to a QONNX file that computes the same integers."""

import copy
import json
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
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
from qonnx.transformation.general import (
    GiveReadableTensorNames,
    GiveUniqueParameterTensors,
    RemoveStaticGraphInputs,
    RemoveUnusedTensors,
)
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.quant_constant_folding import FoldTransposeIntoQuantInit

from quant.errors import QuantError
from quant.files import replacing
from quant.models.network import Network
from quant.qonnx.handlers import PLACE, Manager, prepare
from quant.qonnx.verify import QUANTIZERS, Verification, value_of, verify
from quant.schemes.scheme import Scheme
from quant.transforms import Transform

MEANING = "bitfabric.data"
"""Key of the metadata with the task and the names of classes and features, as JSON."""
SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of the metadata in which torch.onnx lists a node's modules, from the outermost."""


def export(
    model: torch.nn.Module,
    path: str | os.PathLike[str],
    frames: np.ndarray | None = None,
    input_shape: tuple[int, ...] | None = None,
    in_range: tuple[float, float] | None = None,
) -> Verification:
    """Writes ``model`` as a cleaned QONNX file and verifies it against torch. The model itself is not changed.

    ``model`` is a ``quant`` network, or any module of Brevitas layers with one input and one output tensor. The export
    uses a copy on the CPU in eval mode. The file has one input ``global_in`` (1, *input_shape) float32 and one output
    ``global_out`` float32 (qonnx's names). Weights are the quantized values that training used, for any quantizer.
    Nodes are named after their modules: ``hidden_0_linear_MatMul``; nodes of further calls of the same module end in
    ``_1``, ``_2``, ...

    Layers of tables (``quant.lookup``) are plain ONNX, described in docs/ir.md. Where nothing before their encoder
    quantizes the input, the input is annotated with the smallest type of whole numbers that holds ``in_range``.

    ``frames`` (N, *input_shape) are executed in torch and with qonnx. Default: 64 random frames, which are whole
    numbers if both ends of ``in_range`` are, else uniformly distributed. ``input_shape`` (without the batch) and
    ``in_range`` default to those of the network. Another module needs both of them, or ``frames``.

    Raises QuantError if any integer of an activation quantizer differs (then no file is written), and for a layer that
    QONNX cannot express, which the message names. An existing file is replaced only by a complete, verified one.
    """
    name = model.name if isinstance(model, Network) else type(model).__name__
    schemes = dict.fromkeys(getattr(module, "scheme", None) for module in model.modules())
    for scheme in schemes:
        if isinstance(scheme, Scheme):
            scheme.check_export(model)
    for place, module in model.named_modules():
        if isinstance(module, Transform):
            raise QuantError(
                f"export of {name}: its layer {place} cannot be exported: {module.why_not_exported}", status=2
            )
    target = Path(path)
    if not target.parent.is_dir():
        raise QuantError(f"cannot write {target}: there is no folder {target.parent}", status=2)
    checked = _frames(model, name, frames, input_shape, in_range)
    frozen = copy.deepcopy(model).cpu().eval()
    try:
        prepare(frozen)
        exported = _to_onnx(frozen, torch.from_numpy(checked[:1]))
    except QuantError as error:
        raise QuantError(f"export of {name}: {error}", error.status) from error
    nodes = _name_nodes(exported)
    wrapper = _clean(exported)
    left = {node.name for node in wrapper.graph.node}  # others computed constants
    nodes = {path: [each for each in names if each in left] for path, names in nodes.items()}
    _annotate_input(wrapper, model.in_range if in_range is None and isinstance(model, Network) else in_range)
    _describe(wrapper, model)
    verification = verify(name, frozen, wrapper, nodes, checked)
    with replacing(target) as part:
        wrapper.save(str(part))
    return verification


def _describe(wrapper: ModelWrapper, model: torch.nn.Module) -> None:
    """States in the file's metadata what the numbers of frames and outputs mean, where the network knows it."""
    if not isinstance(model, Network):
        return
    known = {"class_names": model.class_names, "feature_names": model.feature_names}
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
    model.register_forward_hook(lambda _module, _inputs, output: value_of(output))
    running = _track(model)
    try:
        with _silence(), tempfile.TemporaryDirectory() as folder:
            exported = Manager.export(model, frame, f"{folder}/model.onnx", dynamo=False)
    except QuantError:
        raise
    except Exception as error:  # the user's layers and torch's exporter can raise any type
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        where = f"its layer {running[-1]}" if running else "the model"
        raise QuantError(f"{where} cannot be exported: {reason}") from error
    ends = (
        len(exported.graph.input) - len({each.name for each in exported.graph.initializer}),
        len(exported.graph.output),
    )
    if ends[1] != 1:
        raise QuantError(f"it has {ends[1]} outputs: wrap it in a module with one")
    return exported


def _track(model: torch.nn.Module) -> list[str]:
    """Returns a list that holds the paths of the running modules, outermost first.

    After a failure it holds the paths of the modules in which the failure occurred.
    """
    running: list[str] = []

    def enter(path: str) -> Any:
        return lambda _module, _inputs: running.append(path)

    for path, module in model.named_modules():
        if path:
            module.register_forward_pre_hook(enter(path))
            module.register_forward_hook(lambda _module, _inputs, _output: running.pop() and None)
    return running


def _name_nodes(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Gives all nodes unique names after their modules, and states the modules in the nodes' metadata, as torch.onnx's
    newer exporter does. Returns the node names of each quantizer, encoder and layer of tables by its path."""
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        name = re.sub(r"[./]+", "_", node.name.strip("/"))
        scopes = _scopes(node.name)
        place = next((each for each in node.attribute if each.name == PLACE), None)
        if place is not None:
            path = place.s.decode()
            node.attribute.remove(place)
            name = f"{path.replace('.', '_')}_{node.op_type}"
            parts = path.split(".")
            scopes = ["", *(".".join(parts[:end]) for end in range(1, len(parts) + 1)), node.op_type]
        unique = next(each for each in _numbered(name) if each not in taken)
        taken.add(unique)
        node.name = unique
        if len(scopes) > 2:
            node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=str(scopes)))
        if place is not None:
            found.setdefault(path, []).append(unique)
        elif len(scopes) > 2 and (node.op_type == "GreaterOrEqual" or _reads_tables(node)):
            found.setdefault(scopes[-2], []).append(unique)
    return found


def _reads_tables(node: onnx.NodeProto) -> bool:
    """Returns whether a node gathers along the first axis, as of the tables of a layer."""
    return node.op_type == "Gather" and not any(each.name == "axis" and each.i for each in node.attribute)


def _annotate_input(wrapper: ModelWrapper, in_range: tuple[float, float] | None) -> None:
    """States the type of an input of whole numbers that an encoder compares as they are."""
    readers = wrapper.find_consumers("global_in")
    while len(readers) == 1 and readers[0].op_type in ("Flatten", "Reshape", "Gather"):
        readers = wrapper.find_consumers(readers[0].output[0])
    compared = {reader.op_type for reader in readers} == {"GreaterOrEqual"}
    if not compared or in_range is None or any(end != int(end) for end in in_range):
        return
    low, high = map(int, in_range)
    if low >= 0:
        kind = f"UINT{max(1, high.bit_length())}"
    else:
        kind = f"INT{1 + max(1, (~low).bit_length(), high.bit_length())}"
    wrapper.set_tensor_datatype("global_in", DataType[kind])


def _scopes(name: str) -> list[str]:
    """The scopes in a name of TorchScript's exporter, ``/blocks/blocks.0/conv/Conv``: ``""``, ``blocks``,
    ``blocks.0``, ``blocks.0.conv``, ``Conv``. The elements of a container repeat its name."""
    *modules, operator = name.strip("/").split("/")
    scopes = [""]
    last = ""
    for module in modules:
        outer = scopes[-1] if not last else scopes[-1].removesuffix(last)
        path = f"{outer}{module}" if last and module.startswith(f"{last}.") else f"{scopes[-1]}.{module}".lstrip(".")
        scopes.append(path)
        last = module
    return [*scopes, operator]


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
    for transformation in (
        InferShapes(),
        GiveUniqueParameterTensors(),
        FoldConstants(exclude_op_types=list(QUANTIZERS)),
        FoldTransposeIntoQuantInit(),
        RemoveUnusedTensors(),
        RemoveStaticGraphInputs(),
        GiveReadableTensorNames(),
    ):
        wrapper = wrapper.transform(transformation)
    return wrapper
