"""The settings of early exits in a training. Light to import, as ``quant.training.config``."""

import math
from dataclasses import dataclass

from quant.errors import QuantError

__all__ = ["Exits"]


@dataclass(frozen=True)
class Exits:
    """How a network with early exits is trained, and how its thresholds are chosen on the validation part.

    - ``share``: of the validation frames that reach an exit, the share that goes on there, at most, above 0 and below
      1. None: the smallest share, the same at every exit, with which ``drop`` holds.
    - ``drop``: the accuracy on validation frames, as a fraction of 1, by which the network may be below its last head
      alone.
    - ``weights``: the factors of the early heads' losses, which are added to that of the last one. None: 1 for each.

    Raises QuantError (status 2) for values out of range, and for ``share`` with ``drop``.
    """

    share: float | None = None
    drop: float = 0.0
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share < 1:
            raise QuantError(
                f"exit share={self.share:g} is not above 0 and below 1: it is the share of frames that go on", status=2
            )
        if not 0 <= self.drop < 1 or (self.drop and self.share is not None):
            raise QuantError(
                f"exit drop={self.drop:g} must be a part of the accuracy from 0 to below 1, and share decides without "
                "it: give one of them",
                status=2,
            )
        if self.weights is not None:
            weights = tuple(float(each) for each in self.weights)
            if not all(math.isfinite(each) and each > 0 for each in weights):
                raise QuantError(f"exit weights={weights} are not positive numbers", status=2)
            object.__setattr__(self, "weights", weights)

    def weights_of(self, exits: int) -> tuple[float, ...]:
        """The weights of so many exits. Raises QuantError (status 2) for another number of them."""
        if self.weights is None:
            return (1.0,) * exits
        if len(self.weights) != exits:
            raise QuantError(f"{len(self.weights)} exit weights for {exits} early exits: give one for each", status=2)
        return self.weights
