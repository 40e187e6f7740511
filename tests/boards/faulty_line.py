"""A line with faults between the host and an image, and campaigns of faults; ``benchmarks`` uses them too."""

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hw.host.errors import BitfabricError
from hw.host.protocol import FRAME, REPLY, STATUS, VERSION, Decoder, Message, Status, encode
from hw.host.session import Session, Transport

OCTETS_PER_SECOND = 100_000
MODEL = 0x0123456789ABCDEF
FAULTS = ("flip", "lose", "insert", "repeat", "silence", "babble")
"""A bit is flipped; an octet is lost; one is made up; octets come twice; nothing arrives for a while; a burst arrives
of a broken line, of noise, of text, or of valid messages that nobody waits for."""
BABBLE = (bytes(1), b"\xff", b"\x7e", b"\x7d", b"I (12) tick\r\n", encode(Message(FRAME | REPLY, 1, b"a")),
          encode(Message(STATUS | REPLY, 1, bytes(Status.OCTETS))))  # fmt: skip


class ImageModel:
    """An image, as the host sees it, with simulated time: its result of a frame is the frame's octets plus one, or,
    with ``out_octets``, as many of them as that, repeated."""

    def __init__(self, in_octets: int, out_octets: int, slots: int = 2) -> None:
        self.in_octets, self.out_octets, self.slots = in_octets, out_octets, slots
        self.timeout: float | None = None
        self.now = 0.0
        self._decoder = Decoder(in_octets)
        self._line: deque[int] = deque()
        self._frames = 0

    def clock(self) -> float:
        return self.now

    def result(self, frame: bytes) -> bytes:
        octets = bytes((octet + 1) % 256 for octet in frame)
        return (octets * -(-self.out_octets // len(octets)))[: self.out_octets]

    def write(self, data: bytes) -> int:
        self.now += len(data) / OCTETS_PER_SECOND
        for message in self._decoder.feed(data):
            if message.type == STATUS and not message.payload:
                fields = (VERSION, self.slots, MODEL, self.in_octets, self.out_octets, 75_000_000, 0, 1, 1, 0)
                status = Status(*fields, self._frames, 1, 0, self._decoder.dropped, 0, 0)
                self._line += encode(Message(STATUS | REPLY, message.tag, status.to_bytes()))
            elif message.type == FRAME and len(message.payload) == self.in_octets:
                self._frames += 1
                self._line += encode(Message(FRAME | REPLY, message.tag, self.result(message.payload)))
        return len(data)

    def read(self, size: int = 1) -> bytes:
        data = bytes(self._line.popleft() for _ in range(min(size, len(self._line))))
        self.now += len(data) / OCTETS_PER_SECOND + (self.timeout or 0.0) * (len(data) < size)
        return data

    def close(self) -> None:
        pass


class FaultyLine:
    """A transport that adds faults to another one, in both directions.

    Args:
        inner: the transport that it is in front of.
        rates: fault -> its probability for each octet; of ``silence`` and ``babble``, for each read.
        rng: where the faults are drawn from.
        burst: the largest number of reads that one silence or one babble lasts.
    """

    def __init__(self, inner: Transport, rates: Mapping[str, float], rng: random.Random, burst: int = 1) -> None:
        self.inner, self.rates, self.rng, self.burst = inner, dict(rates), rng, burst
        self.faults: Counter[str] = Counter()
        self.timeout: float | None = None
        self._burst: tuple[str, bytes, int] = ("", b"", 0)

    def clock(self) -> float:
        return self.inner.clock()  # type: ignore[attr-defined, no-any-return]

    def write(self, data: bytes) -> int | None:
        return self.inner.write(self._damaged(data))

    def read(self, size: int = 1) -> bytes:
        self.inner.timeout = self.timeout
        fault, octets, left = self._burst
        if not left:
            fault = next((each for each in ("silence", "babble") if self._happens(each)), "")
            octets = self.rng.choice((*BABBLE, self.rng.randbytes(4)))
            left = self.rng.randint(1, self.burst)
        if fault:
            self._burst = (fault, octets, left - 1)
            return self._instead(b"" if fault == "silence" else (octets * size)[:size])
        return self._damaged(self.inner.read(size))

    def close(self) -> None:
        self.inner.close()

    def _instead(self, octets: bytes) -> bytes:
        """``octets`` in place of what the inner transport has; time passes as if they had come from it."""
        if isinstance(self.inner, ImageModel):
            self.inner.now += len(octets) / OCTETS_PER_SECOND if octets else self.timeout or 0.0
        return octets

    def _happens(self, fault: str) -> bool:
        happens = self.rng.random() < self.rates.get(fault, 0.0)
        self.faults[fault] += happens
        return happens

    def _damaged(self, octets: bytes) -> bytes:
        result = bytearray()
        for octet in octets:
            if self._happens("insert"):
                result.append(self.rng.choice((0x7E, 0x7D, self.rng.randrange(256))))
            if self._happens("lose"):
                continue
            result.append(octet ^ (1 << self.rng.randrange(8) if self._happens("flip") else 0))
            if self._happens("repeat"):
                result += result[-self.rng.randint(1, 40) :]
        return bytes(result)


@dataclass
class Campaign:
    """The faults of a campaign by kind, and what became of its runs: ``right``, ``refused`` (one line, in time),
    ``wrong``, ``late`` (after the session's limit) and ``other`` (any other exception, or more than one line)."""

    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    frames: int = 0


def campaign(faults: int, seed: int) -> Campaign:
    """Runs on lines with random rates of random faults, until so many ``faults`` have been made."""
    rng = random.Random(seed)
    done = Campaign()
    while done.faults.total() < faults:
        image = ImageModel(rng.randint(1, 60), rng.randint(1, 60), rng.choice((1, 2, 8)))
        kinds = rng.sample(FAULTS, rng.randint(1, len(FAULTS)))
        rates = {kind: 10 ** rng.uniform(-3.5, -1 if kind in ("silence", "babble") else -1.5) for kind in kinds}
        line = FaultyLine(image, rates, rng, rng.choice((1, 10, 10_000)))
        outcome, frames = one_run(line, image, rng)
        done.outcomes[outcome] += 1
        done.faults += line.faults
        done.frames += frames
    return done


class Answering(Protocol):
    """What runs are made on: an image, or a model of one. ``now`` is its time in seconds."""

    in_octets: int
    out_octets: int
    slots: int

    @property
    def now(self) -> float: ...

    def result(self, frame: bytes) -> bytes: ...


def one_run(
    line: FaultyLine, image: Answering, rng: random.Random, timeouts: Sequence[float] = (0.0, 0.01, 0.25)
) -> tuple[str, int]:
    """The outcome of one run, and its number of right results. ``timeouts``: those of the session, in seconds."""
    session = Session(line, rng.choice(timeouts), rng.choice((0, 1, 5)))
    frames = [rng.randbytes(image.in_octets) for _ in range(rng.randint(1, 40))]
    flying = image.slots * (18 + image.in_octets + image.out_octets)
    asking = 8 * (9 + image.out_octets) + 18 + Status.OCTETS
    # A limit is looked at between writes and reads, whose octets take time too.
    limits = {octets: session.limit(octets) + (session.retries + 1) * 2 * octets / OCTETS_PER_SECOND
              for octets in (flying, asking)}  # fmt: skip
    allowed, latest, number = limits[asking], image.now, 0

    def progress(count: int, _: int) -> None:
        nonlocal latest, number
        latest, number = image.now, count

    try:
        session.connect(MODEL, image.in_octets, image.out_octets)
        latest, allowed = image.now, limits[flying]
        results = session.run(frames, image.out_octets, image.slots, progress)
    except BitfabricError as error:
        if "\n" in str(error):
            return "other", number
        return "refused" if image.now - latest <= allowed else "late", number
    except Exception:
        return "other", number
    return "right" if results == [image.result(frame) for frame in frames] else "wrong", number
