"""Runs integer frames on a board, real or virtual, that holds the image of a model."""

from collections.abc import Callable

import numpy as np

from .packing import Format
from .protocol import Status
from .session import Session, Transport

TIMEOUT = 0.25
"""Seconds without an octet after which a frame is sent again."""


class Driver:
    """A model on a board. ``transport`` is an open serial port or a ``VirtualBoard``.

    ``input_format`` and ``output_format`` are those of the accelerator's streams, ``model`` the hash that was built
    into the image. Creating one asks the image who it is: BitfabricError where it is another's.
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
        """Integer frames ``(N, *shape)`` of the input to those of the output.

        Raises BitfabricError for a wrong shape, or where the board stops answering.
        """
        payloads = self.input_format.pack(np.asarray(frames))
        results = self.session.run(payloads, self.output_format.octets, self.identity.slots, progress)
        return self.output_format.unpack(results)

    def status(self) -> Status:
        """The image's counters now."""
        return self.session.status()
