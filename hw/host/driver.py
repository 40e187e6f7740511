"""The driver: runs integer frames on a board, real or virtual, that holds the image of a model."""

from collections.abc import Callable, Sequence

import numpy as np

from .packing import Format
from .protocol import Status
from .session import Session, Transport

TIMEOUT = 0.25
"""Seconds without a received octet after which frames are sent again."""


class Driver:
    """A model on a board. ``transport`` is an open serial port or a ``VirtualBoard``.

    ``input_format`` and ``output_formats`` describe the accelerator's frames, ``model`` is the hash in the image. The
    constructor reads the image's status, and raises BitfabricError if the image belongs to another model.
    """

    def __init__(
        self,
        transport: Transport,
        input_format: Format,
        output_formats: Sequence[Format],
        model: int,
        timeout: float = TIMEOUT,
        retries: int = 5,
    ) -> None:
        self.input_format, self.output_formats = input_format, tuple(output_formats)
        self.output_octets = sum(each.octets for each in output_formats)
        self.session = Session(transport, timeout, retries)
        self.identity = self.session.connect(model, input_format.octets, self.output_octets)

    def run(self, frames: np.ndarray, progress: Callable[[int, int], None] | None = None) -> tuple[np.ndarray, ...]:
        """Run integer frames ``(N, *shape)``; returns the integer frames of every output.

        ``progress`` is called with the number of finished frames and of all. Raises UsageError for frames of another
        shape, and BitfabricError if the board stops answering.
        """
        payloads = self.input_format.pack(np.asarray(frames))
        results = self.session.run(payloads, self.output_octets, self.identity.slots, progress)
        found, start = [], 0
        for each in self.output_formats:
            found.append(each.unpack([result[start : start + each.octets] for result in results]))
            start += each.octets
        return tuple(found)

    def status(self) -> Status:
        """Read the image's status and counters."""
        return self.session.status()
