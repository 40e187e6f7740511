"""The base class of all models, and the functions that they share."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from quant import layers
from quant.data.choices import Task
from quant.errors import QuantError
from quant.models.source import Source
from quant.schemes.scheme import Scheme

SMALL = 64
"""Images with a smaller side are small (``is_small``)."""


class Network(torch.nn.Module):
    """Base class of every model: (N, *input_shape) float32 -> (N, classes) float32 logits.

    The input holds whole numbers in the scale of the data, ``in_range`` = (low, high). The network's first layer,
    ``input``, quantizes it to ``in_bits`` (see ``quant.layers.InputQuant``). The default is 4 bits for ranges within
    0..16 (the digits, whose maximum of 16 becomes 15) and 8 bits otherwise, which leaves images unchanged. A scheme
    that quantizes nothing does not quantize the input either. An ``encoder`` takes the quantizer's place. ``name`` and
    ``scheme`` state what was built.

    A network for data with a normalization (``describe_data``) takes the data's own values instead. ``class_names``
    and ``feature_names`` are those of the data, None where it has none.
    """

    scale: torch.nn.Module
    task: Task = "classification"
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    options: dict[str, Any]  # the arguments of ``create_model`` besides name and scheme
    source: Source | None = None  # of a network of a user's own
    start: str | None = None  # the hash of the network whose weights a training starts with (``quant.training.start``)
    restored_by: str | None = None  # how to restore a network that ``create_model`` does not make
    example_frames: np.ndarray | None = None  # (N, *input_shape), with which an export is checked
    changes: tuple[Mapping[str, Any], ...] = ()  # to what ``create_model`` makes (``quant.compression.restructure``)

    def __init__(
        self,
        name: str,
        scheme: Scheme,
        input_shape: tuple[int, ...],
        classes: int,
        in_range: tuple[int, int],
        in_bits: int | None = None,
        encoder: torch.nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.name, self.scheme = name, scheme
        self.input_shape, self.classes, self.in_range = tuple(input_shape), classes, in_range
        self.input: torch.nn.Module
        if encoder is not None:
            self.input = encoder
        elif in_bits is None and not scheme.quantizes:
            self.input = torch.nn.Identity()
        else:
            narrow = in_range[0] >= 0 and in_range[1] <= 16
            self.input = layers.InputQuant((4 if narrow else 8) if in_bits is None else in_bits, *in_range)

    def describe_data(
        self,
        shape: tuple[int, ...],
        normalization: Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        targets: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds what the data set's samples of ``shape`` have besides their range.

        ``normalization``: ``offset`` and ``scale``, arrays that broadcast to a sample: the network then takes the
        data's own values x and computes the codes ``round((x - offset) / scale)`` within ``in_range`` itself
        (``quant.layers.Normalize``). ``class_names`` and ``feature_names`` are written to exported files.
        ``targets``: the ``task`` of numbers (``quant.data.Task``), with their ``offset`` and ``scale`` (classes,),
        which the network computes behind its last layer (``quant.layers.Denormalize``).

        Raises QuantError (status 2) for names or arrays that do not fit the network.
        """
        for what, names, count in (("class", class_names, self.classes), ("feature", feature_names, math.prod(shape))):
            if names is not None and len(names) > count:
                raise QuantError(f"{len(names)} {what} names for the {count} of {self.name}: give one each", status=2)
        self.class_names = None if class_names is None else tuple(class_names)
        self.feature_names = None if feature_names is None else tuple(feature_names)
        if targets is not None:
            self._give_numbers(**targets)
        if normalization is None:
            return
        affine = [_operand(normalization[name], shape, self.input_shape, name) for name in ("offset", "scale")]
        stages: list[torch.nn.Module] = [layers.Normalize(*affine)]
        if self.scheme.quantizes and not isinstance(self.input, layers.InputQuant):
            stages.append(layers.InputQuant(8, *self.in_range))
        self.input = torch.nn.Sequential(*stages, self.input)

    def _give_numbers(self, task: Task, offset: Any, scale: Any) -> None:
        if not hasattr(self, "scale"):
            raise QuantError(
                f"model {self.name} counts votes for classes and gives no numbers for task {task}: take another model",
                status=2,
            )
        affine = [torch.as_tensor(each, dtype=torch.float32) for each in (offset, scale)]
        if any(each.shape != (self.classes,) for each in affine):
            raise QuantError(
                f"{self.name} gives {self.classes} numbers, not {len(affine[0])}: leave classes out", status=2
            )
        self.task = task
        self.scale = torch.nn.Sequential(self.scale, layers.Denormalize(*affine))

    @property
    def target_scale(self) -> torch.Tensor | None:
        """The scale (classes,) of the numbers that the network gives; None for classes."""
        if self.task == "classification":
            return None
        found: torch.Tensor = self.scale[-1].scale  # type: ignore[index, assignment]
        return found

    @property
    def normalizes(self) -> bool | None:
        """Whether the network takes values that it normalizes itself, instead of codes of ``in_range``.

        None for a network of which that is not known: it takes the data's own values.
        """
        return isinstance(self.input, torch.nn.Sequential) and isinstance(self.input[0], layers.Normalize)

    @property
    def data_range(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of the input, in the scale of the data; both broadcast to input_shape."""
        low, high = (np.asarray(end, np.float32) for end in self.in_range)
        if not self.normalizes:
            return low, high
        offset, scale = (each.detach().cpu().numpy() for each in self.input[0].buffers())  # type: ignore[index]
        return low * scale + offset, high * scale + offset

    def normalization(self, batch_norm: bool | None, bias: bool | None) -> tuple[bool, bool]:
        """Returns whether layers have BatchNorm (None: as in the scheme) and a bias (None: only without BatchNorm)."""
        chosen = self.scheme.batch_norm if batch_norm is None else batch_norm
        return chosen, not chosen if bias is None else bias

    def add_output(self, features: int, bias: bool) -> None:
        """Adds the last layer, ``output``, and, for weights of +-1, a constant scale (``quant.layers.LogitScale``)."""
        edge = self.scheme.edge
        self.output = layers.linear(edge, features, self.classes, bias)
        self.scale = layers.LogitScale(features) if edge.unit_weights else torch.nn.Identity()


def _operand(values: Any, shape: tuple[int, ...], input_shape: tuple[int, ...], name: str) -> torch.Tensor:
    """An array that broadcasts to samples of ``shape``, as a small one that broadcasts to ``input_shape``."""
    array = torch.as_tensor(values, dtype=torch.float32)
    try:
        whole = array.broadcast_to(shape)
    except RuntimeError as error:
        raise QuantError(
            f"{name} of the normalization has shape {tuple(array.shape)}, samples have {tuple(shape)}", status=2
        ) from error
    if array.numel() and bool((array == array.flatten()[0]).all()):
        return array.flatten()[0].clone()
    return array if tuple(shape) == tuple(input_shape) else whole.reshape(input_shape).clone()


def model_inputs(model: Network, images: np.ndarray) -> np.ndarray:
    """Returns samples (N, C, H, W) or (N, F) in the model's layout, (N, *input_shape) float32.

    Raises QuantError (status 2) if the number of elements per sample differs from the model's.
    """
    check_input_shape(model, images.shape[1:])
    return images.reshape(len(images), *model.input_shape).astype(np.float32)


def check_input_shape(model: Network, shape: tuple[int, ...]) -> None:
    """Raises QuantError (status 2) unless samples of ``shape`` have as many elements as the model's input."""
    if math.prod(shape) != math.prod(model.input_shape):
        raise QuantError(
            f"{model.name} takes inputs of shape {model.input_shape}, but the data have {shape}: create the model with "
            f"input_shape={shape}",
            status=2,
        )


def image_shape(
    name: str, input_shape: tuple[int, ...], sides: Callable[[int], int], typical: int
) -> tuple[int, int, int]:
    """Returns an input's channels, and the height and width that the network reduces it to.

    ``sides`` maps a side of the input to the reduced side, which must be at least 1. ``typical`` is a side that is
    large enough; it bounds the search for the smallest valid side.

    Raises QuantError (status 2) if the input is not an image (C, H, W), or is smaller than the network requires.
    """
    if len(input_shape) != 3:
        raise QuantError(f"model {name} takes images (channels, height, width), not {input_shape}", status=2)
    channels, height, width = input_shape
    if min(sides(height), sides(width)) < 1:
        least = next(side for side in range(1, typical + 1) if sides(side) >= 1)
        small = min(height, width)
        fitting = "vgg-small" if small >= 8 else "resnet8" if small >= 4 else "sfc"
        raise QuantError(
            f"model {name} needs images of {least} x {least} at least, not {height} x {width}: pad them, or take "
            f"{fitting}",
            status=2,
        )
    return channels, sides(height), sides(width)


def load_parameters(model: torch.nn.Module, state: Mapping[str, Any]) -> None:
    """Loads a state dict of the same network, whose quantizers that no frame has reached have no scale yet.

    The state dict of Brevitas leaves such a scale out, and ``load_state_dict`` then misses it.

    Raises RuntimeError, as ``load_state_dict`` does, for the state of another network.
    """
    known = set(model.state_dict())
    missing, unexpected = torch.nn.Module.load_state_dict(model, state, strict=False)
    for name in [name for name in missing if name in known] or unexpected:
        raise RuntimeError(f"{'it has no' if name in known else 'the network has no'} {name}")


def integer_type(in_range: tuple[float, float]) -> tuple[int, bool] | None:
    """Returns the bits, and whether there is a sign, of the narrowest integers for the whole numbers of a range.

    None where an end is no whole number.
    """
    if any(end != int(end) for end in in_range):
        return None
    low, high = map(int, in_range)
    if low >= 0:
        return max(1, high.bit_length()), False
    return 1 + max(1, (~low).bit_length(), high.bit_length()), True


def is_small(input_shape: tuple[int, ...], small_input: bool | None) -> bool:
    """Returns ``small_input``; None: whether a side of the image is below 64.

    Networks for large images halve small ones less often.
    """
    return min(input_shape[1:], default=0) < SMALL if small_input is None else small_input


def halved(input_shape: tuple[int, ...], times: int) -> tuple[int, ...]:
    """Returns height and width after ``times`` layers of stride 2, each of which rounds up."""
    return tuple(-(-side // 2**times) for side in input_shape[1:])


def scaled(channels: int, width: float) -> int:
    """Returns ``channels`` times ``width``, rounded, at least 1."""
    return max(1, round(channels * width))
