"""What a build states of the placed design: its slowest paths by layer."""

from flows.facts.fact import Facts


class LayerPath(Facts):
    """The slowest path from a register of the layer ``start`` to one of the layer ``end``, and the ``layers`` whose
    cells it passes. ``levels`` are the cells between the registers. ``delay_ns`` is ``logic_ns`` and ``routing_ns``
    together; ``slack_ns``, what the period of the clock leaves, is negative for a path that misses it.
    """

    start: str
    end: str
    layers: tuple[str, ...]
    levels: int
    delay_ns: float
    logic_ns: float
    routing_ns: float
    slack_ns: float


class LayerPaths(Facts):
    """The ``slowest`` paths of the placed design between layers, one for each two, slowest first; there are ``pairs``
    of layers with a path. The clock of the slack is ``clock_mhz``, which the board's PLL makes where there is one.
    ``remark`` says why there are fewer, where another reason than the number of pairs has to do with it.
    """

    clock_mhz: float
    pairs: int
    slowest: tuple[LayerPath, ...]
    remark: str | None = None


class PinClock(Facts):
    """A clock of the host link that enters the image at ``port``: its frequency, and the highest that the logic on it
    reaches, in MHz."""

    port: str
    mhz: float
    fmax_mhz: float
