"""Brevitas layers with the quantizers of a scheme.

Shapes are those of torch: (N, features), (N, C, L), (N, C, H, W). Except during export, layers call their quantizers
directly, because Brevitas's bookkeeping of quantized tensors takes more time than the arithmetic of a small network.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch.nn.utils.parametrize import is_parametrized

from quant.errors import QuantError
from quant.quantizers.formed import Formed
from quant.quantizers.tensor_quant import SignAct, UniformAct, act_injector
from quant.schemes.scheme import Scheme

__all__ = [
    "Activation",
    "Add",
    "CReLU",
    "Conv1d",
    "Conv2d",
    "Denormalize",
    "InputQuant",
    "Linear",
    "LogitScale",
    "Maxout",
    "MultiBias",
    "Normalize",
    "ReluActivation",
    "S3Pool",
    "StochasticDepth",
    "activation",
    "average_pool",
    "block",
    "conv",
    "conv_block",
    "depthwise",
    "linear",
    "linear_part",
    "signed_activation",
]


class _Weights(QuantWeightBiasInputOutputLayer):
    scheme: Scheme

    @property
    def trained_weight(self) -> torch.nn.Parameter:
        """The parameter that a training changes: the latent weight, or the values (K,) of tied weights."""
        form = self._form
        trained = None if form is None else form.trained
        if trained is not None:
            return trained
        return self.parametrizations.weight.original if is_parametrized(self, "weight") else self.weight

    @torch.no_grad()
    def change_weight(self, change: Callable[[torch.Tensor], None]) -> None:
        """Calls ``change`` with the latent weight (out, in, *kernel), which it changes in place.

        Tied weights become the nearest ones to the changed weight.
        """
        form = self._form
        if form is None or form.trained is None:
            change(self.trained_weight)
            return
        weight = form(self.weight)
        change(weight)
        form.project(weight)

    @property
    def weight_quantizer(self) -> torch.nn.Module:
        """The tensor quantizer of the weights."""
        quantizer = self.weight_quant.tensor_quant
        return quantizer.quantizer if isinstance(quantizer, Formed) else quantizer

    @property
    def _form(self) -> Any:
        quantizer = getattr(self.weight_quant, "tensor_quant", None)
        return quantizer.form if isinstance(quantizer, Formed) else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight_quant.export_mode or not self.weight_quant.is_quant_enabled:
            return super().forward(x)
        bias = self.bias
        if bias is not None and self.bias_quant.is_quant_enabled:
            bias = self.bias_quant.tensor_quant(bias)[0]
        return self.scheme.product(self, x, self.weight_quant.tensor_quant(self.weight)[0], bias)


class Linear(_Weights, QuantLinear):
    """Fully connected layer; created by ``linear``."""


class Conv1d(_Weights, QuantConv1d):
    """Convolution over (N, C, L); created by ``conv``."""


class Conv2d(_Weights, QuantConv2d):
    """Convolution over (N, C, H, W); created by ``conv``."""


def linear(scheme: Scheme, in_features: int, out_features: int, bias: bool = False) -> Linear:
    """Returns a fully connected layer (N, in_features) -> (N, out_features) with the scheme's initial weights."""
    return _scheme_layer(Linear, scheme, bias, in_features, out_features)


def conv(
    scheme: Scheme,
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    dimensions: int = 2,
    bias: bool = False,
) -> Conv1d | Conv2d:
    """Returns a convolution (N, in_channels, *spatial) -> (N, out_channels, *spatial') with the scheme's weights.

    ``dimensions`` is 1 or 2. The border is padded with zeros.
    """
    kind = {1: Conv1d, 2: Conv2d}[dimensions]
    return _scheme_layer(
        kind, scheme, bias, in_channels, out_channels, kernel,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


def depthwise(
    scheme: Scheme, channels: int, kernel: int, *, stride: int = 1, padding: int | None = None, dimensions: int = 2
) -> Conv1d | Conv2d:
    """Returns a depthwise convolution with one filter per channel.

    ``padding`` defaults to half the kernel, which preserves the spatial size for odd kernels at stride 1.
    """
    padding = kernel // 2 if padding is None else padding
    return conv(
        scheme, channels, channels, kernel, stride=stride, padding=padding, groups=channels, dimensions=dimensions
    )


def _scheme_layer(kind: Any, scheme: Scheme, bias: bool, *sizes: Any, **settings: Any) -> Any:
    layer = kind(
        *sizes,
        bias=bias,
        weight_quant=scheme.weight_quant(),
        bias_quant=scheme.bias_quant() if bias else None,
        **settings,
    )
    layer.scheme = scheme
    scheme.initialize(layer.weight.data)
    return layer


class _Activation:
    act_quant: Any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.act_quant.export_mode or not self.act_quant.is_quant_enabled:
            return super().forward(x)  # type: ignore[misc]
        # The ReLU is omitted: the quantizer after it is unsigned, so its clip has the same effect.
        return self.act_quant.fused_activation_quant_proxy.tensor_quant(x)[0]


class Activation(_Activation, QuantIdentity):
    """A quantizer."""


class ReluActivation(_Activation, QuantReLU):
    """A ReLU followed by an unsigned quantizer."""


def activation(scheme: Scheme) -> Activation | ReluActivation:
    """Returns a hidden activation for any shape: the scheme's quantizer, after a ReLU if the scheme has one."""
    kind = ReluActivation if scheme.relu else Activation
    return kind(act_quant=scheme.act_quant())


class CReLU(torch.nn.Module):
    """``concat(act(z), act(-z))`` along the channels: (N, C, ...) -> (N, 2C, ...), with one quantizer for both.

    A layer then needs half of the filters for as many channels. In hardware, that is half of the products, and two
    thresholds on each sum. Shang, Sohn, Almeida, Lee, "Understanding and improving convolutional neural networks via
    concatenated rectified linear units", ICML 2016.

    Raises QuantError (status 2) for activations of one bit, where ``act(-z)`` is ``-act(z)`` and adds nothing.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        if not scheme.relu:
            raise QuantError(
                f"scheme {scheme.name} has activations without ReLU, of which CReLU's second half is only the negative "
                "of the first: take more activation bits, or several biases (MultiBias)",
                status=2,
            )
        self.act = activation(scheme)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.act(z), self.act(-z)], 1)


class MultiBias(torch.nn.Module):
    """``concat(act(z + d_1), ..., act(z + d_K))`` along the channels, with a learned d_k for each channel.

    (N, C, *spatial) -> (N, K C, *spatial), K = ``count``, with ``dimensions`` spatial axes. d starts evenly spread from
    -0.5 to 0.5, half of the deviation of BatchNorm's outputs. In hardware, K thresholds on each sum. Li, Ouyang, Wang,
    "Multi-bias non-linear activation in deep neural networks", ICML 2016.
    """

    def __init__(self, scheme: Scheme, channels: int, count: int = 2, dimensions: int = 2) -> None:
        super().__init__()
        self.act = activation(scheme)
        spread = torch.linspace(-0.5, 0.5, count) if count > 1 else torch.zeros(1)
        self.biases = torch.nn.ParameterList(start.repeat(channels, *[1] * dimensions) for start in spread)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.act(z + bias) for bias in self.biases], 1)


class Maxout(torch.nn.Module):
    """The maximum of each ``count`` consecutive channels, and the scheme's activation: (N, C K, ...) -> (N, C, ...).

    Quantizers never decrease, so the maximum of the codes is the code of the maximum. In training the maximum comes
    first, whose gradient has one place; afterwards the codes are compared, which are narrower. In hardware that is a
    ``max_pool`` over K neighbours of the stream, without a memory of its own; the layer before has K times the filters
    of a plain one. Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks", ICML 2013.

    With filters tied as "translated:Z" (``quant.ties``) it pools over the translates of one filter (Zhai, Cheng, Lu,
    Zhang, "Doubly convolutional neural networks", NIPS 2016).

    Raises QuantError (status 2) for a ``count`` below 2.
    """

    def __init__(self, scheme: Scheme, count: int) -> None:
        super().__init__()
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise QuantError(f"maxout over {count!r} channels: give a whole number of 2 or more", status=2)
        self.count = count
        self.act = activation(scheme)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.act(self._maximum(z)) if self.training else self._maximum(self.act(z))

    def _maximum(self, z: torch.Tensor) -> torch.Tensor:
        frames, channels, *sides = z.shape
        rows = z.permute(0, *range(2, z.dim()), 1).reshape(frames, 1, -1, self.count)  # in the order of the stream
        pooled = torch.nn.functional.max_pool2d(rows, (1, self.count))
        return pooled.reshape(frames, *sides, channels // self.count).permute(0, z.dim() - 1, *range(1, z.dim() - 1))


def signed_activation(scheme: Scheme) -> Activation:
    """Returns the scheme's quantizer of values that no ReLU follows (``Scheme.signed_quant``), for any shape."""
    return Activation(act_quant=scheme.signed_quant())


def block(
    scheme: Scheme,
    layer: torch.nn.Module,
    channels: int,
    dimensions: int = 0,
    *,
    pool: torch.nn.Module | None = None,
    batch_norm: bool | None = None,
    dropout: float = 0.0,
    act: torch.nn.Module | None = None,
) -> torch.nn.Sequential:
    """Returns a layer followed by BatchNorm, activation and dropout, with ``pool`` where the scheme places it.

    ``channels`` and ``dimensions`` (0 to 2 spatial axes) describe the layer's output. ``batch_norm`` None follows the
    scheme. ``act`` replaces the scheme's activation (``CReLU``, ``MultiBias``, ``Maxout``). The children are named
    ``linear`` or ``conv``, ``pool``, ``norm``, ``act`` and ``dropout``; exported files contain these names.
    """
    made = torch.nn.Sequential()
    made.add_module("conv" if dimensions else "linear", layer)
    if pool is not None and scheme.pool_first:
        made.add_module("pool", pool)
    if scheme.batch_norm if batch_norm is None else batch_norm:
        made.add_module("norm", scheme.norm(channels, dimensions))
    made.add_module("act", activation(scheme) if act is None else act)
    if pool is not None and not scheme.pool_first:
        made.add_module("pool", pool)
    if dropout:
        made.add_module("dropout", torch.nn.Dropout(dropout))
    return made


def conv_block(
    scheme: Scheme,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    edge: bool = False,
    pool: torch.nn.Module | None = None,
    batch_norm: bool | None = None,
    bias: bool = False,
    act: torch.nn.Module | None = None,
) -> torch.nn.Sequential:
    """Returns the ``block`` of a convolution over images, (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).

    ``padding`` None is half of the kernel. ``edge``: its weights are those of the scheme's first and last layers.
    """
    layer = conv(
        scheme.edge if edge else scheme, inputs, outputs, kernel,
        stride=stride, padding=kernel // 2 if padding is None else padding, groups=groups, bias=bias,
    )  # fmt: skip
    return block(scheme, layer, outputs, 2, pool=pool, batch_norm=batch_norm, act=act)


def linear_part(
    scheme: Scheme, inputs: int, outputs: int, kernel: int, batch_norm: bool | None, bias: bool, *, stride: int = 1
) -> torch.nn.Sequential:
    """Returns a padded convolution and its BatchNorm, without an activation: children ``conv`` and ``norm``.

    ``batch_norm`` None follows the scheme.
    """
    made = torch.nn.Sequential()
    layer = conv(scheme, inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    made.add_module("conv", layer)
    if scheme.batch_norm if batch_norm is None else batch_norm:
        made.add_module("norm", scheme.norm(outputs, 2))
    return made


class Add(torch.nn.Module):
    """Residual addition ``q(a) + q(b)``: both operands pass the same quantizer, ``scheme.sum_quant()``.

    Both therefore have the same scale, and hardware adds their integers.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self.quant = Activation(act_quant=scheme.sum_quant())

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.quant(a) + self.quant(b)


def average_pool(
    scheme: Scheme, kernel: int | tuple[int, ...], dimensions: int = 2, quantize: bool = True
) -> torch.nn.Module:
    """Returns a mean over non-overlapping windows and, if ``quantize``, the scheme's activation quantizer.

    Hardware adds the integers of a window; the quantizer's thresholds include the division.
    """
    pool = torch.nn.AvgPool1d(kernel) if dimensions == 1 else torch.nn.AvgPool2d(kernel)  # type: ignore[arg-type]
    if not quantize:
        return pool
    made = torch.nn.Sequential()
    made.add_module("pool", pool)
    made.add_module("act", activation(scheme))
    return made


class S3Pool(torch.nn.Module):
    """A max pool that leaves out rows and columns at random in training: (N, C, H, W) -> (N, C, H / k, W / k).

    Training: a max pool of side ``kernel`` at every position, then, of every ``grid`` rows and of every ``grid``
    columns, ``grid / kernel`` drawn at random, the same for all samples of a batch. Otherwise, and in hardware, it is
    the plain max pool. Zhai et al., "S3Pool: pooling with stochastic spatial sampling", CVPR 2017.

    Raises QuantError (status 2) for a grid that is no multiple of the kernel, and for sides that are none of the grid.
    """

    def __init__(self, kernel: int = 2, grid: int = 4) -> None:
        super().__init__()
        if kernel < 1 or grid < kernel or grid % kernel:
            raise QuantError(f"S3Pool: grid={grid} is no multiple of kernel={kernel}", status=2)
        self.kernel, self.grid = kernel, grid

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, grid={self.grid}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return torch.nn.functional.max_pool2d(x, self.kernel)
        if x.shape[2] % self.grid or x.shape[3] % self.grid:
            raise QuantError(
                f"S3Pool: {x.shape[2]} x {x.shape[3]} elements are no multiple of grid={self.grid}: take a smaller one",
                status=2,
            )
        rest = self.kernel - 1
        padded = torch.nn.functional.pad(x, (0, rest, 0, rest), mode="replicate")
        x = torch.nn.functional.max_pool2d(padded, self.kernel, stride=1)
        return x[:, :, self._drawn(x.shape[2], x.device)][:, :, :, self._drawn(x.shape[3], x.device)]

    def _drawn(self, size: int, device: torch.device) -> torch.Tensor:
        order = torch.rand(size // self.grid, self.grid, device=device).argsort(1)[:, : self.grid // self.kernel]
        starts = torch.arange(0, size, self.grid, device=device)
        return (order.sort(1).values + starts[:, None]).flatten()


class StochasticDepth(torch.nn.Module):
    """A residual branch that a training step leaves out at random: ``b x`` with b = 1 of probability ``survival``.

    Otherwise, and in hardware, it is ``survival * x``, a constant that the next quantizer contains. Huang et al., "Deep
    networks with stochastic depth", ECCV 2016, equations 2 and 5.

    Raises QuantError (status 2) for a probability that is not above 0 and at most 1.
    """

    def __init__(self, survival: float) -> None:
        super().__init__()
        if not 0 < survival <= 1:
            raise QuantError(f"survival={survival} of a residual branch is not above 0 and at most 1", status=2)
        self.survival = survival

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x * self.survival
        return x * (torch.rand((), device=x.device) < self.survival)


class InputQuant(torch.nn.Module):
    """Quantizes a network's input, whole numbers ``low..high`` as float32, to ``bits`` bits; any shape.

    1 bit: ``sign(x - (low + high) / 2)``, which is +1 in the upper half of the range and -1 in the lower half. It is
    exported as ``Sub`` and ``BipolarQuant``. More bits: ``s * clip(round(x / s), 0, 2**bits - 1)``, or the signed range
    for a negative ``low``. s >= 1 is the power of two nearest in ratio to ``max(|low|, |high|)`` over the largest code.
    With enough bits the input is unchanged, and arithmetic on it never rounds. (4 bits change the digits' maximum of 16
    to 15.)

    Raises QuantError (status 2) for ``bits`` outside 1 to 16 or an empty range.
    """

    def __init__(self, bits: int, low: int = 0, high: int = 255) -> None:
        super().__init__()
        if not 1 <= bits <= 16 or not low < high:
            raise QuantError(
                f"an input of {bits} bits for values {low}..{high} is not possible: 1 to 16 bits", status=2
            )
        self.bits = bits
        self.middle = (low + high) / 2 if bits == 1 else 0.0
        if bits == 1:
            self.scale = 1.0
            self.quant = Activation(act_quant=act_injector(SignAct, signed=True, narrow=True))
        else:
            signed = low < 0
            largest = 2 ** (bits - 1 if signed else bits) - 1
            self.scale = 2.0 ** max(0, round(math.log2(max(-low, high) / largest)))
            self.quant = Activation(
                act_quant=act_injector(UniformAct, signed=signed, bits=bits, scale=self.scale, power_of_two=True)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.quant(x - self.middle if self.middle else x)


class Normalize(torch.nn.Module):
    """``(x - offset) / scale``, from a user's values to those of the network; offset and scale broadcast to x.

    The host computes it, in float32 as here, before it quantizes the network's input. Raises QuantError (status 2)
    for a scale that is not a positive finite number.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, offset: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        if not bool((scale > 0).all() and scale.isfinite().all() and offset.isfinite().all()):
            raise QuantError("the scale of a normalization must be positive and finite, its offset finite", status=2)
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.offset) / self.scale


class Denormalize(torch.nn.Module):
    """``x * scale + offset`` (K,): a network's numbers, of about unit size, in the scale of the data's.

    The host computes it, in float32 as here, behind the network's output.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, offset: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.offset


class LogitScale(torch.nn.Module):
    """Multiplies by the power of two nearest to ``1 / sqrt(fan_in)``, so that sums of signs become logits of unit size.

    It replaces the final BatchNorm of the papers' binary networks. One positive power of two for all classes is exact
    and does not change the arg-max of the integer sums, whereas BatchNorm would cost one hardware multiplier per class.
    """

    def __init__(self, fan_in: int) -> None:
        super().__init__()
        self.scale = 2.0 ** -round(math.log2(math.sqrt(fan_in)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale
