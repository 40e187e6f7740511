"""``quantize``: a float network becomes a quantized one, from calibration frames and without training."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch

from quant import layers
from quant.data import DataSet, load_data
from quant.errors import QuantError
from quant.layers import Activation
from quant.models.network import Network
from quant.post_training.calibrated import Calibrated
from quant.post_training.calibration import WEIGHTS, calibrate, correct_biases, optimize_weights
from quant.post_training.frames import Frames, Samples, frames_of
from quant.post_training.input_scale import input_quantizer
from quant.post_training.network import QuantizedNetwork
from quant.post_training.operators import LAYERS
from quant.post_training.placement import Placement, Site
from quant.post_training.result import Quantization, measure
from quant.post_training.sensitivity import Parts
from quant.post_training.tracing import GraphModule, float_graph, sizes_of

CALIBRATION_FRAMES = 1024
"""Frames that are used of a data set."""

TABLE_BITS = 10
"""The widest codes of a function that is neither affine nor a ReLU: hardware has a table or thresholds for them."""

_QUANTIZED: dict[type[torch.nn.Module], Any] = {kind: getattr(layers, kind.__name__) for kind in LAYERS}


def quantize(
    model: torch.nn.Module,
    calibration: Samples,
    *,
    weight_bits: int = 8,
    act_bits: int = 8,
    in_bits: int | None = None,
    sum_bits: int | None = None,
    per_channel: bool = False,
    scales: str = "power-of-two",
    method: str = "mse",
    equalize: bool = True,
    bias_correction: bool = True,
    weights: str = "nearest",
    test: Samples | None = None,
    sensitivity: bool = True,
    batch_size: int = 64,
) -> Quantization:
    """Quantizes a trained float network without training, and measures what that costs. ``model`` is not changed.

    ``model`` takes one tensor (N, *input_shape) and returns one; Linear, Conv and ConvTranspose layers, BatchNorm,
    activations, pools, sums and concatenations of branches (docs/float-networks.md). ``calibration`` are frames as the
    network takes them, a few hundred like those in use: an array or tensor, a pair of arrays with labels, a ``DataSet``
    or its name, or batches. At most 1,024 frames are used.

    - ``weight_bits``, ``act_bits``: 2 to 16. ``sum_bits`` is the width of both operands of a residual sum; default: 8
      or ``act_bits``, whichever is more. ``in_bits``: the input's (default: as few as hold the frames' values exactly,
      at most 8). Functions other than ReLU have at most 10 bits.
    - ``per_channel``: weights have one scale for each output channel instead of one for the tensor.
    - ``scales``: "power-of-two", so that hardware rescales by shifts and is exact, or "free".
    - ``method``: how ranges are measured, "mse", "percentile" or "max" (``Calibrated``).
    - ``equalize``: equal ranges of the channels of neighbouring layers before; ``bias_correction``: the mean error of
      each channel goes into the bias after.
    - ``weights``: "nearest", or "gptq" or "gpfq", which round one input channel of a layer after the other and correct
      the rest for the errors.

    ``test`` are frames with labels to measure accuracy on; default: the test part of a ``DataSet``, else the
    calibration frames with their labels, if they have any. ``sensitivity`` quantizes each layer alone, too.

    The result's ``model`` is a ``Network``: ``quant.export`` writes it, ``quant.fit`` trains it further.

    Raises QuantError, with the name of the module and a remedy, for a network that hardware cannot compute or that
    cannot be traced; and (status 2) for frames of another shape, none, or with values that are not finite, and for
    widths and names that are not offered.
    """
    scheme = Calibrated(
        weight_bits, act_bits, max(8, act_bits) if sum_bits is None else sum_bits, per_channel, scales, method
    )
    if weights not in WEIGHTS:
        raise QuantError(f"weights={weights!r}: choose {', '.join(map(repr, WEIGHTS))}", status=2)
    shape = model.input_shape if isinstance(model, Network) else None
    frames = frames_of(calibration, CALIBRATION_FRAMES).shaped(shape)
    tested = _test_frames(calibration, test)
    tested = frames if tested is None else tested.shaped(shape)
    graph = float_graph(model, frames.x[:batch_size], equalize)
    with torch.no_grad():
        expected = graph(frames.x[:1])
    original = copy.deepcopy(graph)
    batches = frames.x.split(batch_size)
    placement = Placement(graph, batches)
    placement.insert(_maker(scheme, in_bits))
    originals = _quantize_layers(graph, scheme)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibrate(placement, batches)
        optimize_weights(graph, batches, weights)
        if bias_correction:
            correct_biases(graph, batches)
    for module in graph.modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(True)
    name = model.name if isinstance(model, Network) else type(model).__name__
    kinds = {site.name: {"act": "activation"}.get(site.what, site.what) for site in placement.sites}
    known = model.normalizes if isinstance(model, Network) else None
    classes = expected.shape[1] if expected.dim() > 1 else 1
    made = QuantizedNetwork(name, scheme, graph, frames.x, classes, known)
    if isinstance(model, Network):
        made.describe_source(model)
    return measure(made.eval(), original, tested, Parts(made, kinds, originals) if sensitivity else None)


def _test_frames(calibration: Samples, test: Samples | None) -> Frames | None:
    if test is not None:
        found = frames_of(test, None, "test", test=True)
        if found.y is None:
            raise QuantError("test has no labels: give a pair (x, y)", status=2)
        return found
    if isinstance(calibration, str):
        calibration = load_data(calibration)
    if not isinstance(calibration, DataSet):
        return None
    found = frames_of(calibration, None, test=True)
    return found if calibration.task == "classification" else Frames(found.x, None)


def _maker(scheme: Calibrated, in_bits: int | None) -> Callable[[Site], Activation]:
    def make(site: Site) -> Activation:
        if site.values is not None:
            return input_quantizer(site.values, in_bits, scheme.scales == "power-of-two")
        bits = scheme.sum_bits if site.what == "sum" else scheme.act_bits
        return Activation(act_quant=scheme.activation(min(bits, TABLE_BITS) if site.by_table else bits, site.signed))

    return make


def _quantize_layers(graph: GraphModule, scheme: Calibrated) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """Replaces the layers by quantized ones. Returns the float weights and biases by path."""
    found = {}
    for path, module in list(graph.named_modules()):
        if type(module) in _QUANTIZED:
            graph.set_submodule(path, _quantized_layer(module, scheme))
            found[path] = module.weight.detach(), None if module.bias is None else module.bias.detach()
    return found


@torch.no_grad()
def _quantized_layer(layer: Any, scheme: Calibrated) -> Any:
    sizes, settings = sizes_of(layer)
    made = _QUANTIZED[type(layer)](
        *sizes, bias=layer.bias is not None, weight_quant=scheme.weight_quant(), bias_quant=None, **settings
    )
    made.scheme = scheme
    # In place: the quantizer measures its scale from this parameter.
    made.weight.copy_(layer.weight)
    if layer.bias is not None:
        made.bias.copy_(layer.bias)
    return made.eval()
