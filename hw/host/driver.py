"""The driver: runs integer frames on a board, real or virtual, that holds the image of a model."""

from collections.abc import Callable, Sequence

import numpy as np

from .benchmark import Replayed, checksum, signatures, words
from .errors import BitfabricError, UsageError
from .packing import Format
from .protocol import MAX_SLOTS, Status, joined, joined_octets, parted
from .session import Session, Transport

TIMEOUT = 0.25
"""Seconds without a received octet after which frames are sent again."""
MOST_REPLAYED = (1 << 32) - 1
"""Most frames of a replay."""
PATIENCE = 20
"""How many times the latency of a frame a replay may take without a result."""


class Driver:
    """A model on a board. ``transport`` is an open port of the board's link or a ``VirtualBoard``.

    ``input_formats`` and ``output_formats`` describe the accelerator's frames, in the order of its ports, ``model`` is
    the hash in the image. The constructor reads the image's status, and raises BitfabricError if the image belongs to
    another model.
    """

    def __init__(
        self,
        transport: Transport,
        input_formats: Sequence[Format],
        output_formats: Sequence[Format],
        model: int,
        timeout: float = TIMEOUT,
        retries: int = 5,
    ) -> None:
        self.input_formats, self.output_formats = tuple(input_formats), tuple(output_formats)
        self.session = Session(transport, timeout, retries)
        self._in_octets = joined_octets([each.octets for each in input_formats])
        self._out_sizes = [each.octets for each in output_formats]
        self.identity = self.session.connect(model, self._in_octets, joined_octets(self._out_sizes))
        if (self.identity.inputs, self.identity.outputs) != (len(self.input_formats), len(self.output_formats)):
            raise BitfabricError("the image has other inputs and outputs; build and program it again")

    def run(
        self, *frames: np.ndarray, progress: Callable[[int, int], None] | None = None, slots: int = MAX_SLOTS
    ) -> tuple[np.ndarray, ...]:
        """Run integer frames ``(N, *shape)``, of each input in turn; returns the integer frames of every output.

        ``progress`` is called with the number of finished frames and of all. At most ``slots`` frames are in flight,
        and no more than the image allows. Raises UsageError for frames of another shape or number, and BitfabricError
        if the board stops answering.
        """
        if len(frames) != len(self.input_formats) or len({len(each) for each in frames}) != 1:
            raise UsageError(f"the image takes frames of {len(self.input_formats)} inputs, the same number of each")
        packed = [form.pack(np.asarray(each)) for form, each in zip(self.input_formats, frames, strict=True)]
        payloads = [joined(each) for each in zip(*packed, strict=True)]
        octets = joined_octets(self._out_sizes)
        results = self.session.run(payloads, octets, min(slots, self.identity.slots), progress, self._are_results)
        each_part = [parted(result, self._out_sizes) for result in results]
        columns = zip(self.output_formats, zip(*each_part, strict=True), strict=True)
        return tuple(form.unpack(list(column)) for form, column in columns)

    def _are_results(self, payload: bytes) -> bool:
        """Whether a payload has a frame of every output."""
        try:
            parted(payload, self._out_sizes)
        except ValueError:
            return False
        return True

    def status(self) -> Status:
        """Read the image's status and counters."""
        return self.session.status()

    def benchmark(
        self,
        count: int,
        *frames: np.ndarray,
        beats: Sequence[int],
        expected: Sequence[np.ndarray] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Replayed:
        """Replay ``count`` frames inside the image at full rate, and compare the signatures of all outputs.

        The first of ``frames`` (as in ``run``), as many as the image's memory holds, are sent to it, the given ones
        over and over where they are fewer. Their results are those that the outputs must have, or ``expected`` ones,
        the integer frames of every output. ``beats`` are those of a frame of each output. ``progress`` is called with
        the number of frames that were replayed and of all.

        Raises UsageError for an image without benchmark and for a wrong number of frames; BitfabricError where the
        board stops, or its outputs differ.
        """
        distinct = self.identity.benchmark
        if not distinct:
            raise UsageError("the image has no benchmark; build it with --benchmark-frames N")
        if not 1 <= count <= MOST_REPLAYED:
            raise UsageError(f"a benchmark takes 1 to {MOST_REPLAYED:,} frames, not {count:,}")
        chosen = [np.resize(each, (distinct, *each.shape[1:])) for each in map(np.asarray, frames)]
        for _ in range(self.session.retries + 1):
            results, errors = self._load(chosen)
            if expected is not None:
                known = [np.resize(each, (distinct, *each.shape[1:])) for each in expected]
                if not all(map(np.array_equal, results, known)):
                    raise BitfabricError("the board's results of the frames for the benchmark are not those expected")
            cycles, found = self._replay(count, sum(words(self.output_formats, beats)), progress)
            # A damaged message may have been taken for the beginning of another frame.
            if self.status().errors == errors:
                break
        else:
            raise _bad_line()
        right = [
            signature
            for form, result, each in zip(self.output_formats, results, beats, strict=True)
            for signature in signatures(form, result, each, count)
        ]
        if list(found) != right:
            raise BitfabricError(
                f"the outputs of {count:,} replayed frames are wrong: their checksum is {checksum(found):08x}, not "
                f"{checksum(right):08x}, that of the same frames one at a time; is the clock too fast for the device?"
            )
        return Replayed(count, distinct, cycles, self.identity.clock_hz, checksum(found))

    def _load(self, frames: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], int]:
        """Run exactly these frames, so that the image's memory holds them in order: one at a time, until none of them
        was accepted twice.

        Returns their results, and the number of messages that the image has dropped.
        """
        for _ in range(self.session.retries + 1):
            before = self.status().frames
            results = self.run(*frames, slots=1)
            after = self.session.connect(self.identity.model, self._in_octets, joined_octets(self._out_sizes))
            if (after.frames - before) & 0xFFFFFFFF == len(frames[0]):
                return results, after.errors
        raise _bad_line()

    def _replay(
        self, count: int, number: int, progress: Callable[[int, int], None] | None
    ) -> tuple[int, tuple[int, ...]]:
        """The cycles of a replay, and its ``number`` of signatures."""
        session = self.session
        before = session.replay_state(number).started
        for _ in range(session.retries + 1):
            session.start_replay(count)
            state = session.replay_state(number)
            if state.started != before:
                break
        else:
            raise BitfabricError("the image does not start its benchmark; reset the board")
        latency = self.status().cycles / max(1, self.identity.clock_hz)
        limit = PATIENCE * latency + (session.retries + 1) * session.timeout
        left, since = state.left, session.now()
        while state.running:
            session.pause()
            state = session.replay_state(number)
            if state.left < left:
                left, since = state.left, session.now()
                if progress:
                    progress(count - left, count)
            elif state.running and session.now() - since > limit:
                raise BitfabricError(f"the benchmark stands still after {count - left:,} of {count:,} frames")
        return state.cycles, state.signatures


def _bad_line() -> BitfabricError:
    return BitfabricError("the line to the board is too bad for a benchmark: messages were lost at every attempt")
