"""What a build states of special networks: what was removed, tables of lookup networks, early exits."""

from flows.facts.fact import Facts


class RemovedFrom(Facts):
    """What was removed from a layer of so many ``channels``: those that are ``constant``, that are ``equal`` to another
    one or its negative, that are ``unused``; and ``weights``, or the ``table_bits`` of a lookup layer. ``summary`` says
    so in a line."""

    name: str
    channels: int
    constant: int
    equal: int
    unused: int
    weights: int
    table_bits: int | None = None
    summary: str


class Removed(Facts):
    """The channels that do nothing and are not in the design, by layer, and all ``weights`` that this saves.

    The channels that remain are a multiple of ``granularity`` in each layer, or all of them.
    """

    granularity: int
    weights: int
    layers: tuple[RemovedFrom, ...]


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' if number != 1 else ''}"


class LookupTables(Facts):
    """The size of a lookup network, without what was removed: its tables, their bits, and the bits of its encoders.

    Tables that only pass a bit on to a later layer do not count.
    """

    tables: int
    table_bits: int
    encoder_bits: int

    @property
    def summary(self) -> str:
        """The same in a line."""
        return f"{_counted(self.tables, 'table')}, {self.bits}"

    @property
    def bits(self) -> str:
        """The bits of the tables and of the encoders."""
        return f"{_counted(self.table_bits, 'table bit')}, {_counted(self.encoder_bits, 'encoder bit')}"


class ExpectedExits(Facts):
    """The mean cycles between frames (``interval``) and the mean rate ``fps``, by the cycle model, where of the frames
    that reach an early exit a share ``going_on`` goes on, at random. The layers behind exits are folded for it."""

    going_on: float
    interval: float
    fps: float


class MeasuredExits(Facts):
    """What frames did at early exits. ``going_on``: by exit, from the first to the last, the share of the frames that
    reach it which goes on.

    Of the first ``timed`` frames, by the cycle model with their verdicts, where the next frame is always there: the
    mean ``interval`` between their ends, and the ``mean``, the ``median``, the ``high`` (of 99 % of the frames) and the
    ``worst`` of their latencies, in cycles.
    """

    frames: int
    going_on: tuple[float, ...]
    timed: int
    interval: float
    mean: float
    median: int
    high: int
    worst: int


class Exits(Facts):
    """Early exits, as ``expected`` and as ``measured`` on the build's frames (None where they were not emulated). The
    interval and the rate of the report itself are guaranteed: those where all frames go on."""

    expected: ExpectedExits
    measured: MeasuredExits | None = None
