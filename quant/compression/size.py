"""Size of a compressed network, layer by layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from quant.compression.coding import OFFSET_BITS, encode_layers
from quant.compression.weights import compression_of, find_layers, weight_of
from quant.text_table import text_table

FLOAT_BITS = 32


@dataclass(frozen=True)
class Row:
    """Sizes in bits of one layer's weights, or of a whole network.

    - ``bits_before``: 32 bits per weight.
    - ``index_bits``, ``offset_bits``: the indices, and the gaps of pruned layers, at a fixed length.
    - ``huffman_bits``: both after Huffman coding; ``table_bits``: the Huffman codes.
    - ``codebook_bits``: centroids, codewords, or weights that are stored unchanged.
    - ``bits_after``: the sum of codebook, tables and Huffman-coded streams, which is what ``encode`` stores.
    """

    name: str
    form: str
    weights: int
    nonzeros: int
    bits_before: int
    index_bits: int
    offset_bits: int
    codebook_bits: int
    table_bits: int
    huffman_bits: int

    @property
    def bits_after(self) -> int:
        return self.codebook_bits + self.table_bits + self.huffman_bits

    @property
    def rate(self) -> float:
        """Compression rate of the survey, ``alpha = a / a*``: size before over size after."""
        return self.bits_before / self.bits_after

    @property
    def saving(self) -> float:
        """Space saving, ``(a - a*) / a``."""
        return 1.0 - self.bits_after / self.bits_before

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bits_after": self.bits_after, "rate": self.rate, "saving": self.saving}


@dataclass(frozen=True)
class Report:
    """One row per layer, and one for the network: ``print(report(model))``.

    ``layers`` and their sum ``total`` count weights only, as papers do. ``other_bits`` is the rest of the state
    (biases, BatchNorm, scales), which is stored unchanged. ``container_bits`` are the names and shapes in the file.
    ``encoded_bits`` is the sum of all three: eight times the number of bytes that ``encode`` returns.
    """

    layers: tuple[Row, ...]
    total: Row
    other_bits: int
    container_bits: int

    @property
    def encoded_bits(self) -> int:
        return self.total.bits_after + self.other_bits + self.container_bits

    def as_dict(self) -> dict[str, Any]:
        return {
            "layers": [row.as_dict() for row in self.layers],
            "total": self.total.as_dict(),
            "other_bits": self.other_bits,
            "container_bits": self.container_bits,
            "encoded_bits": self.encoded_bits,
        }

    def __str__(self) -> str:
        columns = ("layer", "form", "weights", "nonzero", "before", "index", "offset", "codebook", "tables", "huffman")
        rows = []
        for row in (*self.layers, self.total):
            sizes = (row.bits_before, row.index_bits, row.offset_bits, row.codebook_bits, row.table_bits)
            rows.append(
                [
                    *(row.name, row.form, f"{row.weights:,}", f"{row.nonzeros / row.weights:.1%}"),
                    *(f"{size:,}" for size in (*sizes, row.huffman_bits, row.bits_after)),
                    *(f"{row.rate:.2f}x", f"{row.saving:.1%}"),
                ]
            )
        conclusion = (
            f"sizes in bits; encoded: {self.encoded_bits // 8:,} bytes with other tensors ({self.other_bits:,} bits) "
            f"and names ({self.container_bits:,} bits)"
        )
        return text_table((*columns, "after", "rate", "saving"), rows, conclusion)


def report(model: torch.nn.Module, offset_bits: int | Mapping[str, int] = OFFSET_BITS) -> Report:
    """Returns the sizes of a network's weights, compressed or not, as ``encode`` stores them with ``offset_bits``.

    An uncompressed layer counts 32 bits per weight, whatever the width of its quantizer. ``uniform_quantize(model)``
    stores the integers of a quantized layer instead.
    """
    encoded = encode_layers(model, offset_bits)
    rows = []
    for name, layer in find_layers(model).items():
        weight = weight_of(layer)
        count, nonzeros = weight.numel(), int(torch.count_nonzero(weight))
        form = compression_of(layer)
        e = encoded.layers.get(name)
        if form is None or e is None:
            rows.append(Row(name, "plain", count, nonzeros, FLOAT_BITS * count, 0, 0, FLOAT_BITS * count, 0, 0))
            continue
        tables, coded = (8 * sum(map(len, pieces)) for pieces in (e.tables, e.coded))
        rows.append(
            Row(
                name,
                form.kind,
                count,
                nonzeros,
                FLOAT_BITS * count,
                e.index_bits,
                e.offset_bits,
                8 * len(e.codebook),
                tables,
                coded,
            )
        )
    sums = [sum(getattr(row, size) for row in rows) for size in list(Row.__dataclass_fields__)[2:]]
    total = Row("total", "", *sums)
    plain = sum(row.bits_after for row in rows if row.form == "plain")
    other = 8 * sum(t.numel() * t.element_size() for t in encoded.rest.values()) - plain
    container = 8 * len(encoded.to_bytes()) - total.bits_after - other
    return Report(tuple(rows), total, other, container)
