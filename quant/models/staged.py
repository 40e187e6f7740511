"""Networks whose blocks follow one another: they may end early, behind any of them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import torch

from quant import layers
from quant.data.choices import Task
from quant.errors import QuantError
from quant.models.network import Network

SIDE = 4
"""Height and width, at least, of the feature maps that the layer of an early head reads."""


class StagedNetwork(Network):
    """Base class of networks of blocks in a row: ``logits`` of the last of the ``stages``.

    With early exits (``add_exits``) it has a head behind some of the stages, in ``heads``, and ``exits`` chooses
    between their logits and the last ones.
    """

    exits: layers.EarlyExits | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.exits = None

    def stages(self) -> Iterable[Callable[[torch.Tensor], torch.Tensor]]:
        """The blocks behind the input's quantizer, each of which ends in quantized activations."""
        raise NotImplementedError

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ...) outputs of the last stage -> (N, classes)."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, early = self.input(x), []
        for number, stage in enumerate(self.stages(), 1):
            x = stage(x)
            if self.exits is not None and str(number) in self.heads:
                early.append(self.heads[str(number)](x))
        logits = self.logits(x)
        if self.exits is None:
            return logits
        result: torch.Tensor = self.exits(*early, logits)
        return result

    def add_exits(self, after: int | Sequence[int]) -> None:
        """Adds early exits behind the stages ``after``, counted from 1, with new heads.

        A head is a linear layer of the scheme. Of images it reads the maxima of windows, at least 4 x 4 of them.

        Raises QuantError (status 2) for what is no stage before the last one, and for a network that gives numbers.
        """
        stages = list(self.stages())
        numbers = list(after) if isinstance(after, list | tuple) else [after]
        valid = [each for each in numbers if type(each) is int and 1 <= each < len(stages)]
        if not numbers or valid != numbers or sorted(set(valid)) != valid:
            raise QuantError(
                f"early_exit={after!r}: {self.name} has {len(stages)} blocks, and an early exit is behind one of the "
                f"blocks 1 to {len(stages) - 1}; several are a list in order, as [1, 2]",
                status=2,
            )
        self.heads = torch.nn.ModuleDict()
        for number in numbers:
            self.heads[str(number)] = self._head(self._after(number))
        self.exits = layers.EarlyExits(self.scheme, len(numbers))

    @torch.no_grad()
    def _after(self, number: int) -> torch.Size:
        """The shape (1, ...) of one frame behind a stage."""
        training = self.training
        x = self.eval().input(torch.zeros(1, *self.input_shape))
        for stage in islice(self.stages(), number):
            x = stage(x)
        self.train(training)
        return x.shape

    def _head(self, shape: torch.Size) -> torch.nn.Sequential:
        made = torch.nn.Sequential()
        sides = list(shape[2:])
        features = shape[1]
        if sides:
            kernel = [max(1, side // SIDE) for side in sides]
            if kernel != [1] * len(sides):
                made.add_module("pool", torch.nn.MaxPool2d(tuple(kernel)))  # type: ignore[arg-type]
            made.add_module("flatten", torch.nn.Flatten())
            for side, size in zip(sides, kernel, strict=True):
                features *= side // size
        edge = self.scheme.edge
        made.add_module("linear", layers.linear(edge, features, self.classes, self.output.bias is not None))
        if edge.unit_weights:
            made.add_module("scale", layers.LogitScale(features))
        return made

    def _give_numbers(self, task: Task, offset: Any, scale: Any) -> None:
        if self.exits is not None:
            raise QuantError(
                f"early_exit: an exit is decided by the margin of classes, and task {task} has numbers: leave it out",
                status=2,
            )
        super()._give_numbers(task, offset, scale)


class AveragedNetwork(StagedNetwork):
    """A network of convolutions whose last layer, linear, reads the mean of each channel over all positions.

    The mean is not quantized: in hardware the last layer reads the sums.
    """

    def add_output_of_means(self, channels: int, sides: tuple[int, ...], bias: bool) -> None:
        """Adds the mean over images with height and width ``sides``, ``pool``, and the last layer."""
        self.pool = layers.average_pool(self.scheme, sides, quantize=False)
        self.add_output(channels, bias)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, *sides) -> (N, classes)."""
        result: torch.Tensor = self.scale(self.output(self.pool(x).flatten(1)))
        return result
