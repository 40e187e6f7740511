"""All rows, by the sections of the page."""

from tests.lowering.operators import elementwise, layers, moves, quantizers
from tests.lowering.operators.row import Row

SECTIONS: dict[str, tuple[Row, ...]] = {
    "Quantizers": quantizers.ROWS,
    "Layers": layers.ROWS,
    "Element-wise operators": elementwise.ROWS,
    "Moves": moves.ROWS,
}
ROWS: tuple[Row, ...] = tuple(row for rows in SECTIONS.values() for row in rows)
