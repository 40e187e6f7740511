"""FINN's front end: converts a QONNX file to FINN's dataflow graph with the transformations of FINN's build flow.

The transformations are called directly, which requires neither Vivado nor FINN's settings. They log and print nothing,
and write nothing outside a temporary folder.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hw.finn.execution import calling_finn, mapping_error, require_finn
from hw.host.errors import BitfabricError, UsageError
from hw.lowering.domains import CHANNELS_LAST_DOMAIN
from hw.lowering.qonnx import load
from hw.model import Model

# Operators that must be in hardware: if one remains on the host, FINN did not map the network.
_COMPUTE = {"MatMul", "Gemm", "Conv", "XnorPopcountMatMul", "Im2Col", "Quant", "BipolarQuant", "Trunc"}


def dataflow(source: str | os.PathLike[str] | Model, batch: int = 1, input_quantizer: bool = False) -> Any:
    """FINN's dataflow graph of a QONNX file for ``batch`` frames at a time, not yet specialised or folded.

    The steps are those of FINN's default build flow up to ``step_convert_to_hw``, which merges thresholds into the
    matrix-vector units. Floating-point nodes at both ends remain on the host: ``Mul``, ``Add``, ... and, without
    ``input_quantizer``, the quantizer of the input, which FINN's flow implements in hardware as a comparison of floats.
    Returns a qonnx ModelWrapper. Raises BitfabricError, with FINN's reason, for a network that FINN cannot map.
    """
    require_finn()
    opened = Model.open(source)
    if opened.kind == "qdq":
        raise UsageError(
            f"{opened.path} has ONNX's QuantizeLinear quantizers, and FINN's streamlining starts from QONNX's; use "
            "--front-end bitfabric, or export it as QONNX"
        )
    for node in opened.proto.graph.node:
        if node.domain == CHANNELS_LAST_DOMAIN:
            raise UsageError(
                f"{opened.path} has operators with channels last ({node.op_type} of {node.domain}), and FINN's "
                "streamlining starts from channels first; use --front-end bitfabric, or the file before the conversion"
            )
    path, model = opened.path, load(opened.proto, opened.path)
    _plain_biases(model)
    _whole_pools(model)
    _explicit_convolutions(model)
    with calling_finn(path) as messages:
        model = _signs_absorbed(_streamlined(model, batch))
        if _joins(model):
            model = _residual(model)
        model = _to_hardware(model, input_quantizer)
        _check_mapped(model, path, messages)
    return model


def _plain_biases(model: Any) -> None:
    """Replace quantized biases by their values: qonnx extracts only biases with one scale per channel."""
    from hw.lowering.constants import quant_parameters, quantized

    for node in list(model.graph.node):
        readers = model.find_consumers(node.output[0])
        bias = readers and all(
            each.op_type in ("Conv", "Gemm") and list(each.input).index(node.output[0]) == 2 for each in readers
        )
        if node.op_type in ("Quant", "IntQuant") and bias:
            value, *operands = (model.get_initializer(name) for name in node.input)
            if value is not None:
                model.graph.node.remove(node)
                model.set_initializer(node.output[0], quantized(value, quant_parameters(node, operands)).value)


def _whole_pools(model: Any) -> None:
    """Convert average pools of a whole image to GlobalAveragePool, the only average pool for which FINN has a layer."""
    from hw.lowering.node_attributes import attribute

    for node in model.get_nodes_by_op_type("AveragePool"):
        shape = model.get_tensor_shape(node.input[0])
        if list(attribute(node, "kernel_shape", [])) == shape[2:] and not any(attribute(node, "pads", [])):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _explicit_convolutions(model: Any) -> None:
    """Add the optional attributes of ONNX convolutions with their default values: FINN's lowering requires them."""
    from onnx.helper import make_attribute

    for node in model.get_nodes_by_op_type("Conv"):
        axes = len(model.get_tensor_shape(node.input[1])) - 2
        given = {each.name for each in node.attribute}
        defaults = {"strides": [1] * axes, "dilations": [1] * axes, "pads": [0] * 2 * axes, "group": 1}
        node.attribute.extend(make_attribute(name, value) for name, value in defaults.items() if name not in given)


def _joins(model: Any) -> bool:
    """Whether the network adds branches, or contains a global average pool."""
    return bool(model.get_nodes_by_op_type("GlobalAveragePool")) or any(
        all(model.get_initializer(name) is None for name in node.input) for node in model.get_nodes_by_op_type("Add")
    )


def _signs_absorbed(model: Any) -> Any:
    """Absorb the signs of BatchNorm's factors into the weights of convolutions.

    FINN does this for a layer directly before the factor (Absorb1BitMulIntoMatMul). After a convolution there is a
    transpose between the two, and the Mul would remain in the middle of the network.
    """
    from finn.transformation.streamline import absorb

    from hw.ir.stream import smallest_dtype

    for mul in model.get_nodes_by_op_type("Mul"):
        signs = model.get_initializer(mul.input[1])
        move = model.find_producer(mul.input[0])
        if signs is None or not np.all(np.abs(signs) == 1) or move is None or move.op_type != "Transpose":
            continue
        layer = model.find_producer(move.input[0])
        if layer is None or layer.op_type != "MatMul" or model.is_fork_node(move):
            continue
        weights = model.get_initializer(layer.input[1])
        if weights is None or signs.size not in (1, weights.shape[1]):
            continue
        turned = weights * np.ravel(signs)
        model.set_initializer(layer.input[1], turned)
        if not model.get_tensor_datatype(layer.input[1]).allowed(turned.max()):
            dtype = smallest_dtype(int(turned.min()), int(turned.max()))
            model.set_tensor_datatype(layer.input[1], dtype)
        for reader in model.find_consumers(mul.output[0]):
            reader.input[list(reader.input).index(mul.output[0])] = mul.input[0]
        model.graph.node.remove(mul)
    for step in (absorb.AbsorbTransposeIntoMultiThreshold(), absorb.AbsorbConsecutiveTransposes()):
        model = model.transform(step)
    return model


def _residual(model: Any) -> Any:
    """Move scales and transposes past forks, sums and global averages, by FINN's own transformations.

    FINN's build flow does not include these transformations, and its StreamlinePlus does not terminate on such
    networks.
    """
    from finn.transformation.fpgadataflow.convert_to_hw.global_acc_pool import InferGlobalAccPoolLayer
    from finn.transformation.streamline import absorb, reorder
    from finn.transformation.streamline.collapse_repeated import CollapseRepeatedMul
    from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes

    moves = (
        reorder.MoveScalarLinearPastInvariants(),
        reorder.MoveLinearPastFork(),
        reorder.MoveTransposePastFork(),
        reorder.MoveLinearPastEltwiseAdd(),
        reorder.MoveTransposePastJoinAdd(),
        absorb.AbsorbTransposeIntoMultiThreshold(),
        absorb.AbsorbConsecutiveTransposes(),
        absorb.AbsorbMulIntoMultiThreshold(),
        absorb.AbsorbTransposeIntoFlatten(),
        CollapseRepeatedMul(),
        reorder.MoveScalarMulPastMatMul(),
        reorder.MoveScalesPastIm2Col(),
    )
    for last in (InferGlobalAccPoolLayer(), RoundAndClipThresholds()):
        for _ in range(len(model.graph.node)):  # each round moves a scale past one more fork or sum
            before = [node.op_type for node in model.graph.node]
            for step in moves:
                model = model.transform(step)
            if before == [node.op_type for node in model.graph.node]:
                break
        for step in (InferShapes(), InferDataTypes(), last, InferDataLayouts(), InferDataTypes()):
            model = model.transform(step)
    return model


def _streamlined(model: Any, batch: int) -> Any:
    from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN
    from finn.transformation.streamline import Streamline, absorb
    from finn.transformation.streamline.reorder import MakeMaxPoolNHWC
    from qonnx.transformation.bipolar_to_xnor import ConvertBipolarMatMulToXnorPopcount
    from qonnx.transformation.fold_constants import FoldConstants
    from qonnx.transformation.general import (
        GiveReadableTensorNames,
        GiveUniqueNodeNames,
        RemoveStaticGraphInputs,
        RemoveUnusedTensors,
    )
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(model, override_inpsize=batch)
    convolutions = (
        LowerConvsToMatMul(),
        MakeMaxPoolNHWC(),
        absorb.AbsorbTransposeIntoMultiThreshold(),
        MakeMaxPoolNHWC(),
        absorb.AbsorbConsecutiveTransposes(),
    )
    for step in (
        ConvertQONNXtoFINN(),
        InferShapes(),
        FoldConstants(),
        GiveUniqueNodeNames(),
        GiveReadableTensorNames(),
        InferDataTypes(),
        RemoveStaticGraphInputs(),
        absorb.AbsorbScalarBiasIntoMultiThreshold(),
        Streamline(),
        *(convolutions if model.get_nodes_by_op_type("Conv") else ()),
        ConvertBipolarMatMulToXnorPopcount(),
        Streamline(),
        absorb.AbsorbScalarMulAddIntoTopK(),
        InferDataLayouts(),
        RemoveUnusedTensors(),
    ):
        model = model.transform(step)
    return model


def _to_hardware(model: Any, input_quantizer: bool) -> Any:
    from finn.transformation.fpgadataflow.convert_to_hw.binary_matrix_vector_activation import (
        InferBinaryMatrixVectorActivation,
    )
    from finn.transformation.fpgadataflow.convert_to_hw.conv_inp_gen import InferConvInpGen
    from finn.transformation.fpgadataflow.convert_to_hw.duplicate_streams import InferDuplicateStreamsLayer
    from finn.transformation.fpgadataflow.convert_to_hw.elementwise_binary_operation import (
        InferElementwiseBinaryOperation,
    )
    from finn.transformation.fpgadataflow.convert_to_hw.label_select import InferLabelSelectLayer
    from finn.transformation.fpgadataflow.convert_to_hw.pool import InferPool
    from finn.transformation.fpgadataflow.convert_to_hw.quantized_matrix_vector_activation import (
        InferQuantizedMatrixVectorActivation,
    )
    from finn.transformation.fpgadataflow.convert_to_hw.thresholding import InferThresholdingLayer
    from finn.transformation.fpgadataflow.convert_to_hw.vector_vector_activation import InferVectorVectorActivation
    from finn.transformation.move_reshape import RemoveCNVtoFCFlatten
    from finn.transformation.streamline.absorb import AbsorbConsecutiveTransposes
    from qonnx.custom_op.registry import getCustomOp
    from qonnx.transformation.general import GiveUniqueNodeNames
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes

    for step in (
        InferBinaryMatrixVectorActivation(),
        InferQuantizedMatrixVectorActivation(),
        InferVectorVectorActivation(),
        InferLabelSelectLayer(),
    ):
        model = model.transform(step)
    left = model.get_nodes_by_op_type("MultiThreshold")
    if input_quantizer or any(model.get_tensor_datatype(node.input[0]).is_integer() for node in left):
        model = model.transform(InferThresholdingLayer())
        for node in model.get_nodes_by_op_type("Thresholding"):
            if not (input_quantizer or model.get_tensor_datatype(node.input[0]).is_integer()):
                getCustomOp(node).set_nodeattr("partition_id", -1)  # CreateDataflowPartition leaves it on the host
    if model.get_nodes_by_op_type("Im2Col") or model.get_nodes_by_op_type("MaxPoolNHWC"):
        for step in (InferPool(), InferConvInpGen(), AbsorbConsecutiveTransposes(), RemoveCNVtoFCFlatten()):
            model = model.transform(step)
    if model.get_nodes_by_op_type("Add"):
        model = model.transform(InferElementwiseBinaryOperation(_joins_streams)).transform(InferDuplicateStreamsLayer())
    for step in (GiveUniqueNodeNames(), InferDataTypes(), InferShapes()):
        model = model.transform(step)
    return model


def _joins_streams(model: Any, node: Any) -> bool:
    """Whether an Add has two integer streams as inputs, as in a residual block; other Adds remain on the host."""
    return node.op_type == "Add" and all(
        model.get_initializer(name) is None and model.get_tensor_datatype(name).is_integer() for name in node.input
    )


def _check_mapped(model: Any, path: Path | str, messages: list[str]) -> None:
    from finn.analysis.fpgadataflow.unsupported_layers import unsupported_layers

    mapped = [n for n in model.graph.node if n.domain.startswith("finn.custom_op.fpgadataflow")]
    left = [n for n in model.graph.node if n.op_type in _COMPUTE]
    whole, between = model.analysis(unsupported_layers)
    if mapped and not left and whole:
        return
    reason = next((line for line in messages if "was not converted" in line), "")
    culprit = next(iter(left), between)
    if not reason and culprit is not None:
        reason = f"{culprit.name} ({culprit.op_type}) stays outside its dataflow graph"
    raise mapping_error(path, reason or "it finds no layer for hardware in it")


def minimized(model: Any) -> Any:
    """The graph with FINN's minimum weight and accumulator types, and with thresholds rounded and clipped to them.

    FINN uses a signed accumulator for popcounts that is one bit too narrow (784 binary inputs: INT10), and clips
    thresholds to it, which changes thresholds of 513 and more. Execute the graph before this step.
    """
    from finn.transformation.fpgadataflow.minimize_accumulator_width import MinimizeAccumulatorWidth
    from finn.transformation.fpgadataflow.minimize_weight_bit_width import MinimizeWeightBitWidth
    from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
    from qonnx.custom_op.registry import getCustomOp
    from qonnx.transformation.infer_datatypes import InferDataTypes

    for node in model.graph.node:
        if (
            node.op_type.startswith("MVAU")
            and len(node.input) == 3
            and getCustomOp(node).get_nodeattr("binaryXnorMode")
        ):
            # A neuron with a constant output: FINN asserts that thresholds are >= 0, but does not clip them.
            limits = (0, getCustomOp(node).get_nodeattr("MW") + 1)
            model.set_initializer(node.input[2], model.get_initializer(node.input[2]).clip(*limits))
    for step in (
        MinimizeWeightBitWidth(),
        MinimizeAccumulatorWidth(),
        InferDataTypes(),
        RoundAndClipThresholds(),
        InferDataTypes(),
        MinimizeWeightBitWidth(),
        InferDataTypes(),
    ):
        model = model.transform(step)
    return model


def partition(model: Any) -> Any:
    """The only dataflow partition of the graph, without host nodes. Raises BitfabricError if there are several."""
    from finn.transformation.fpgadataflow.create_dataflow_partition import CreateDataflowPartition
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.registry import getCustomOp

    with TemporaryDirectory() as folder:
        parent = model.transform(CreateDataflowPartition(partition_model_dir=folder))
        parts = parent.get_nodes_by_op_type("StreamingDataflowPartition")
        if len(parts) != 1:
            raise BitfabricError(f"FINN splits the network into {len(parts)} parts; it takes only one")
        return ModelWrapper(getCustomOp(parts[0]).get_nodeattr("model"))
