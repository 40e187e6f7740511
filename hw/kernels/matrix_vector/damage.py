"""``matrix_vector`` with flipped bits in its memories."""

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.stream import decode, encode
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.flipped_bits import flipped, known, signed, with_parameters, wrap


class DamagedMatrixVector(MatrixVector):
    """A ``matrix_vector`` with modified weights, or, in the datapath ``input_planes``, with modified ``memory_rows``:
    the bits of its memory, (NF * SF, PE, ROW)."""

    memory_rows: np.ndarray

    def rows(self) -> np.ndarray:
        return self.memory_rows if self.datapath == "input_planes" else super().rows()

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rows = x.reshape(-1, self.mw)
        if self.datapath == "input_planes":
            sums = self._by_inputs(rows)
        elif self.datapath == "weight_planes":
            sums = self._by_weights(rows)
        else:
            rows = known(rows, self.input_dtype) if self.datapath == "ternary" else rows
            sums = _product(rows, self.weights.T)
        return (wrap(sums, self.accumulator_dtype).reshape(len(x), *self.prefix, self.mh),)

    def _planes(self, values: np.ndarray, dtype: BaseDataType) -> tuple[np.ndarray, np.ndarray]:
        """The factors by which operands (..., SIMD) select sums and differences of the other operand's pairs of lanes.

        Returns the factors of the sums and of the differences, (..., pairs) each. The sign planes of an operand select
        them; an absent lane (of an odd SIMD) has positive signs only.
        """
        bipolar = dtype == DataType["BIPOLAR"]
        signs = values.astype(np.int64)
        if not bipolar:  # 2 v is the sum of the sign planes plus a constant
            planes = self.planes[0]
            signs = 2 * signs + (1 if dtype.signed() or planes > dtype.bitwidth() else 1 - (1 << planes))
        if values.shape[-1] % 2:
            missing = np.full((*values.shape[:-1], 1), 1 if bipolar else (1 << self.planes[0]) - 1)
            signs = np.concatenate((signs, missing), axis=-1)
        return (signs[..., 0::2] + signs[..., 1::2]) // 2, (signs[..., 0::2] - signs[..., 1::2]) // 2

    def _by_inputs(self, x: np.ndarray) -> np.ndarray:
        """Sums (rows, MH) of the datapath ``input_planes``.

        Its memory holds sums and differences of pairs of weights, and an extra term.
        """
        _, bits, extra_bits = self.planes
        memory = self.memory_rows.reshape(self.nf, self.sf, self.pe, -1)
        pairs = memory[..., : 2 * self.pairs * bits].reshape(self.nf, self.sf, self.pe, self.pairs, 2, bits)
        numbers = signed(pairs.astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64)), bits)
        shared, apart = self._planes(x.reshape(len(x), self.sf, self.simd), self.input_dtype)
        total = np.zeros((len(x), self.mh), np.int64)  # exact modulo 2**64
        for step in range(self.sf):
            both = numbers[:, step].reshape(self.mh, self.pairs, 2)
            part = _product(shared[:, step], both[..., 0].T) + _product(apart[:, step], both[..., 1].T)
            if extra_bits:
                extra = memory[:, step, :, -extra_bits:].astype(np.int64) @ (1 << np.arange(extra_bits, dtype=np.int64))
                part = (part + signed(extra, extra_bits).reshape(self.mh)) >> 1
            total = total + part
        return total

    def _by_weights(self, x: np.ndarray) -> np.ndarray:
        """Sums (rows, MH) of the datapath ``weight_planes``, in which sums and differences of pairs of inputs wrap
        around: their width is chosen for the input range of the undamaged network."""
        lanes = np.pad(x.reshape(len(x), -1, self.simd).astype(np.int64), ((0, 0), (0, 0), (0, self.simd % 2)))
        even, odd = lanes[..., 0::2], lanes[..., 1::2]
        bits = self.planes[1]
        sums, differences = (signed(each, bits).reshape(len(x), -1) for each in (even + odd, even - odd))
        weights = self.weights.reshape(self.mh, self.sf, self.simd)
        shared, apart = (each.reshape(self.mh, -1).T for each in self._planes(weights, self.weight_dtype))
        total = _product(sums, shared) + _product(differences, apart)
        if self.weight_dtype == DataType["BIPOLAR"]:
            return total
        return (total - sums.sum(axis=1, keepdims=True)) >> 1


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product of integers, in int64, or in Python's int where int64 overflows."""
    largest = int(np.abs(a).max(initial=0)) * int(np.abs(b).max(initial=0)) * a.shape[1]
    if largest < 1 << 53:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return a.astype(object) @ b.astype(object)


def bits(kernel: MatrixVector) -> int:
    """Bits of the kernel's memories."""
    if kernel.datapath == "input_planes":
        return kernel.memory.depth * kernel.memory.width
    return kernel.weights.size * kernel.weight_dtype.bitwidth()


def damaged(kernel: MatrixVector, flips: np.ndarray) -> DamagedMatrixVector:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped.

    Without flips it computes what the hardware computes for any input codes.
    """
    # The accumulator keeps the width that it has for the original weights.
    kept = {"accumulator_dtype": kernel.accumulator_dtype, "planes": kernel.planes, "datapath": kernel.datapath}
    if kernel.datapath == "input_planes":
        rows = flipped(kernel.rows().astype(np.uint64), 1, flips)
        return with_parameters(DamagedMatrixVector, kernel, **kept, memory_rows=rows)
    codes = flipped(encode(kernel.weights, kernel.weight_dtype), kernel.weight_dtype.bitwidth(), flips)
    weights = decode(codes, kernel.weight_dtype).astype(np.int64)
    return with_parameters(DamagedMatrixVector, kernel, **kept, weights=weights)
