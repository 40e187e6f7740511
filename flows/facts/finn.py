"""What a build states of FINN: its estimate for the same model."""

from flows.facts.fact import Facts


class FinnLayerCost(Facts):
    """A layer of FINN's with FINN's estimate; ``bram`` are blocks of 18 kbit."""

    name: str
    operator: str
    PE: int
    SIMD: int
    cycles: int
    lut: int
    bram: int
    dsp: int


class FinnComparison(Facts):
    """FINN's own estimate for the same model and interval."""

    part: str
    clock_mhz: float
    cycles: int
    lut: int
    bram: int
    dsp: int
    fps: float
    layers: tuple[FinnLayerCost, ...]


class FinnRefusal(Facts):
    """Why FINN has no estimate."""

    refused: str
