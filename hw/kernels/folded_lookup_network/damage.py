"""``folded_lookup_network`` with flipped bits in its memories: levels, wires and tables."""

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import encode
from hw.kernels.folded_lookup_network.kernel import READ, FoldedLookupNetwork
from hw.kernels.shared.flipped_bits import flipped, with_parameters, wrap


class DamagedFoldedLookupNetwork(FoldedLookupNetwork):
    """A ``folded_lookup_network`` with other contents of its memories: ``stored``, as ``fields`` gives them."""

    stored: dict[str, np.ndarray]

    def fields(self) -> dict[str, np.ndarray]:
        return self.stored

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        made = self.program
        rows = encode(x, self.inputs()[0].dtype).reshape(-1, x.shape[-1]).astype(np.int64)
        bits = np.zeros((len(rows), self.pe << self.word_bits), np.uint8)
        entered = self._encoded(rows) if self._encoder else rows
        first = entered.shape[1]
        wires = _numbers(self.stored["WIRES"], self.wire_bits).reshape(made.wires.shape)
        tables = self.stored["TABLES"].reshape(made.tables.shape)
        results = np.zeros((len(rows), len(wires), self.pe), np.uint8)
        places = first + np.arange(made.hidden * self.pe)
        lanes, powers = np.arange(self.pe), 1 << np.arange(self.inputs_of_tables)
        known = first // self.pe + np.minimum(np.arange(len(wires)) - self._delay, made.hidden)
        early = wires // self.pe >= known[:, None, None]  # reads what is not written yet: bits of the position before
        while True:
            old, last = np.zeros_like(bits), results.copy()
            bits[:, :first] = entered
            bits[:, places] = results[:, : made.hidden].reshape(len(rows), -1)
            old[1:] = bits[:-1]
            for step, (wire, table) in enumerate(zip(wires, tables, strict=True)):
                taken = bits[:, wire]
                if early[step].any():
                    taken = np.where(early[step], old[:, wire], taken)
                results[:, step] = table[lanes, taken @ powers]
                if step < made.hidden:
                    bits[:, first + step * self.pe + lanes] = results[:, step]
            if not early.any() or np.array_equal(last, results):
                break
        return (self._left(results[:, made.hidden :]).reshape(len(x), *self.outputs()[0].shape),)

    @property
    def _delay(self) -> int:
        """Steps behind one that writes a word which do not read it yet."""
        encoder, wires = self._fetch
        return max(self._evaluate, encoder - wires + READ + 1)

    def _encoded(self, rows: np.ndarray) -> np.ndarray:
        """The words of the encoder, for the codes of all features. There are zeros behind the features."""
        dtype = self.inputs()[0].dtype
        features = np.zeros((len(rows), 1 << self.feature_bits), np.int64)
        features[:, : rows.shape[1]] = rows
        if dtype.signed() and dtype != DataType["BIPOLAR"]:
            features ^= 1 << dtype.bitwidth() - 1
        words = self.stored["ENCODER"].reshape(-1, self.feature_bits + self.code_bits)
        feature = _numbers(words[:, : self.feature_bits], self.feature_bits)
        code = _numbers(words[:, self.feature_bits :], self.code_bits)
        return (features[:, feature.ravel()] >= code.ravel()).astype(np.int64)

    def _left(self, results: np.ndarray) -> np.ndarray:
        """The output, of the results (positions, steps, PE) of the last steps."""
        count = self._popcount
        if count is None:
            return results
        counted = results.reshape(len(results), len(count.offsets), -1).sum(axis=2, dtype=np.int64)
        sums = wrap(counted + count.offsets, count.output_dtype)
        return sums if self.kernels[-1] is count else sums.argmax(axis=1)


def bits(kernel: FoldedLookupNetwork) -> int:
    """Bits of the kernel's memories."""
    return sum(each.size for each in kernel.fields().values())


def damaged(kernel: FoldedLookupNetwork, flips: np.ndarray) -> DamagedFoldedLookupNetwork:
    """The kernel with the memory bits ``flips`` flipped, numbered from the encoder's memory on. Without flips it
    computes what the hardware computes for any input codes."""
    stored, first = {}, 0
    for name, each in kernel.fields().items():
        own = flips[(flips >= first) & (flips < first + each.size)] - first
        stored[name] = flipped(each.astype(np.uint64), 1, own).astype(np.uint8)
        first += each.size
    return with_parameters(DamagedFoldedLookupNetwork, kernel, stored=stored)


def _numbers(bits: np.ndarray, width: int) -> np.ndarray:
    """Bits (steps, n * width) as integers (steps, n)."""
    return bits.reshape(len(bits), -1, width).astype(np.int64) @ (1 << np.arange(width))
