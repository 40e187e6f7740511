"""The sizes and operations of a network's layers, as rows and as a table."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from quant.cost import LayerCost
from quant.text_table import html_table, text_table

__all__ = [
    "FLOAT_BITS",
    "LayerSummary",
    "Summary",
]

FLOAT_BITS = 32


@dataclass(frozen=True)
class LayerSummary:
    """One linear, convolution or table layer; operations are for one frame.

    ``kind`` is "linear", "conv", "depthwise", "grouped", "transposed", "experts" or "lookup". The weights of experts
    are those of all of them, of which one multiplies a frame. The weights of tables are their
    entries, and each wire counts as an operation of one bit. Shapes exclude the batch.
    ``signed_inputs`` is whether integers at the input have a sign. ``weight_bits`` and ``act_bits`` are the widths of
    the operands that the layer multiplies: 32 for floating point; the sum over a pooling window includes the bits that
    the sum adds. ``nonzeros`` counts the weights that are not zero at inference, ``distinct`` the different integers
    among the weights, and ``csd_digits`` the digits other than 0 of all of them in canonical signed-digit form, which
    multiplications by constants add; both are 0 for floating point. ``memory_bits`` is the size of the weights, zeros
    included, and ``bit_operations`` is ``macs * weight_bits * act_bits``. ``cost`` is that in hardware, where a cost
    model is given that knows the layer.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    signed_inputs: bool
    weight_bits: int
    act_bits: int
    weights: int
    nonzeros: int
    memory_bits: int
    macs: int
    bit_operations: int
    distinct: int = 0
    csd_digits: int = 0
    cost: LayerCost | None = None

    @property
    def effective_macs(self) -> int:
        """Multiply-accumulates with weights that are not zero."""
        return self.macs * self.nonzeros // self.weights

    @property
    def density(self) -> float:
        """The share of the weights that are not zero."""
        return self.nonzeros / self.weights


_COLUMNS = (
    "layer", "type", "output", "weight bits", "act bits", "weights", "density", "values", "CSD digits", "memory bits",
    "MACs", "effective MACs", "bit operations",
)  # fmt: skip
_COSTS = {"lut": "LUT", "bram": "BRAM", "dsp": "DSP", "rom_bits": "ROM bits", "cycles": "cycles"}
"""The parts of a cost that are shown, with their titles."""


def _cost_cells(cost: dict[str, int] | None, shown: dict[str, int]) -> list[str]:
    return ["" if cost is None else f"{cost[name]:,}" for name in _COSTS if shown]


@dataclass(frozen=True)
class Summary:
    """A network's weight layers in execution order, and their totals: ``print(summary(model))``.

    Let a and a* be the size of the weights before (32-bit floating point) and after quantization, as in Cheng, Wang,
    Zhou, Zhang, "A survey of model compression and acceleration for deep neural networks", section VII.
    ``compression_rate`` is ``a / a*`` and ``space_saving`` is ``(a - a*) / a``. (The survey's eq. 9 prints
    ``(a - a*) / a*``, which is the compression rate minus 1 and not a fraction of the original size.) ``speed_up`` is
    an estimate of the survey's ``s / s*``: bit operations at 32 x 32 bits divided by those at the layers' widths.
    Hardware whose area is dominated by multiplications gains about this factor; a processor does not.

    These three are of the layers with weights: tables have no form in floating point. Without such layers they are 1, 0
    and 1.

    Biases, BatchNorm and scales are not counted, because hardware folds them into thresholds. ``encoder_bits`` are the
    bits of thermometer encoders, each of which is a comparison.
    """

    layers: tuple[LayerSummary, ...]
    encoder_bits: int = 0

    def __iter__(self) -> Iterator[LayerSummary]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def _compared(self, before: Callable[[LayerSummary], int], after: str) -> tuple[int, int]:
        """The sums of two figures, in floating point and quantized, over the layers with weights."""
        rows = [row for row in self.layers if row.kind != "lookup"]
        return (sum(map(before, rows)), sum(getattr(row, after) for row in rows)) if rows else (1, 1)

    @property
    def weights(self) -> int:
        return sum(row.weights for row in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(row.nonzeros for row in self.layers)

    @property
    def density(self) -> float:
        """The share of the weights that are not zero."""
        return self.nonzeros / self.weights

    @property
    def memory_bits(self) -> int:
        return sum(row.memory_bits for row in self.layers)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.layers)

    @property
    def bit_operations(self) -> int:
        return sum(row.bit_operations for row in self.layers)

    @property
    def effective_macs(self) -> int:
        """Multiply-accumulates with weights that are not zero."""
        return sum(row.effective_macs for row in self.layers)

    @property
    def csd_digits(self) -> int:
        return sum(row.csd_digits for row in self.layers)

    @property
    def costs(self) -> dict[str, int]:
        """The sums of the costs of the layers that have one, "cycles" their maximum; empty without a cost model."""
        known = [asdict(row.cost) for row in self.layers if row.cost is not None]
        return {name: (max if name == "cycles" else sum)(each[name] for each in known) for name in _COSTS if known}

    @property
    def compression_rate(self) -> float:
        before, after = self._compared(lambda row: FLOAT_BITS * row.weights, "memory_bits")
        return before / after

    @property
    def space_saving(self) -> float:
        before, after = self._compared(lambda row: FLOAT_BITS * row.weights, "memory_bits")
        return 1.0 - after / before

    @property
    def speed_up(self) -> float:
        before, after = self._compared(lambda row: FLOAT_BITS**2 * row.macs, "bit_operations")
        return before / after

    def totals(self) -> dict[str, Any]:
        """Returns the totals by name."""
        names = (
            "weights", "nonzeros", "density", "memory_bits", "macs", "effective_macs", "csd_digits", "bit_operations",
            "compression_rate", "space_saving", "speed_up", "encoder_bits", "costs",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Returns ``layers``, a list with one dictionary per layer, and ``totals``."""
        rows = [{**asdict(row), "density": row.density, "effective_macs": row.effective_macs} for row in self.layers]
        return {"layers": rows, "totals": self.totals()}

    def _columns(self) -> list[str]:
        return [*_COLUMNS, *(_COSTS.values() if self.costs else ())]

    def _cells(self) -> list[list[str]]:
        rows = [
            [
                row.name, row.kind, "x".join(map(str, row.output_shape)), str(row.weight_bits), str(row.act_bits),
                f"{row.weights:,}", f"{row.density:.1%}", f"{row.distinct:,}", f"{row.csd_digits:,}",
                f"{row.memory_bits:,}", f"{row.macs:,}", f"{row.effective_macs:,}", f"{row.bit_operations:,}",
                *_cost_cells(None if row.cost is None else asdict(row.cost), self.costs),
            ]
            for row in self.layers
        ]  # fmt: skip
        sizes = (f"{n:,}" for n in (self.memory_bits, self.macs, self.effective_macs, self.bit_operations))
        first = ("total", "", "", "", "", f"{self.weights:,}", f"{self.density:.1%}", "", f"{self.csd_digits:,}")
        return [*rows, [*first, *sizes, *_cost_cells(self.costs, self.costs)]]

    def _conclusion(self) -> str:
        said = []
        if tables := [row for row in self.layers if row.kind == "lookup"]:
            bits, read = sum(row.weights for row in tables), sum(row.macs for row in tables)
            said.append(f"tables of {bits:,} bits in all, which read {read:,} bits")
        if self.encoder_bits:
            said.append(f"encoders of {self.encoder_bits:,} bits")
        if len(tables) == len(self.layers):
            return "; ".join([*said, "nothing is multiplied"])
        without = [row.name for row in self.layers if row.cost is None and row.kind != "lookup"]
        costs = f"; costs in hardware without {', '.join(without)}" if without and self.costs else ""
        compared = (
            f"against 32-bit floating point: {self.compression_rate:.1f} times smaller ({self.space_saving:.1%} "
            f"saved), about {self.speed_up:.0f} times fewer bit operations{costs}"
        )
        return "; ".join([*said, f"the other layers {compared}" if tables else compared])

    def __str__(self) -> str:
        return text_table(self._columns(), self._cells(), self._conclusion())

    def _repr_html_(self) -> str:
        return html_table(self._columns(), self._cells(), self._conclusion())
