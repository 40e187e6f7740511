"""The driver: runs integer frames on a board, real or virtual, that holds the image of a model."""

from collections.abc import Callable

import numpy as np

from .packing import Format
from .protocol import Status
from .session import Session, Transport

TIMEOUT = 0.25
"""Seconds without a received octet after which frames are sent again."""


class Driver:
    """A model on a board. ``transport`` is an open serial port or a ``VirtualBoard``.

    ``input_format`` and ``output_format`` describe the accelerator's frames, ``model`` is the hash in the image. The
    constructor reads the image's status, and raises BitfabricError if the image belongs to another model.
    """

    def __init__(
        self,
        transport: Transport,
        input_format: Format,
        output_format: Format,
        model: int,
        timeout: float = TIMEOUT,
        retries: int = 5,
    ) -> None:
        self.input_format, self.output_format = input_format, output_format
        self.session = Session(transport, timeout, retries)
        self.identity = self.session.connect(model, input_format.octets, output_format.octets)

    def run(self, frames: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Run integer frames ``(N, *shape)``; returns the output's integer frames.

        ``progress`` is called with the number of finished frames and of all. Raises UsageError for frames of another
        shape, and BitfabricError if the board stops answering.
        """
        payloads = self.input_format.pack(np.asarray(frames))
        results = self.session.run(payloads, self.output_format.octets, self.identity.slots, progress)
        return self.output_format.unpack(results)

    def status(self) -> Status:
        """Read the image's status and counters."""
        return self.session.status()
