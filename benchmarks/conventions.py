"""What must be equal for the rows of one table: the data set, what is counted with the network, and the device."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """How a row was measured.

    ``data``: data set and split; ``encoder``: what turns inputs into the network's bits, and whether its logic is
    counted; ``device``: the device, and the tool that counted.
    """

    data: str
    encoder: str
    device: str

    def __str__(self) -> str:
        return f"data {self.data}; encoder {self.encoder}; {self.device}"


def table(
    title: str, rows: Sequence[tuple[Convention, dict[str, object]]]
) -> tuple[str, list[str], list[list[object]]]:
    """The title with the convention, the columns and the cells of ``report.show``.

    Raises ValueError where rows differ in their convention: their figures cannot be compared.
    """
    conventions = {convention for convention, _ in rows}
    if len(conventions) > 1:
        first, second, *_ = sorted(map(str, conventions))
        raise ValueError(f"{title}: rows of different conventions, which one table cannot hold: {first} | {second}")
    columns = list(rows[0][1])
    return f"{title}; {rows[0][0]}", columns, [[line[name] for name in columns] for _, line in rows]
