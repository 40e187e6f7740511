"""Damaged kernels: what the hardware computes when bits of a kernel's memories are not what they should be.

A flipped bit may make numbers that the kernel was not made for, and hand them on. So these kernels compute as the
hardware does with any contents and any codes at their inputs: sums wrap around in their bits, thresholds are searched
as they lie, sorted or not, and a code that no number has (10 of TERNARY) counts as what the logic makes of it.
"""

from dataclasses import replace
from functools import singledispatch
from typing import TypeVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.ir.kernel import Kernel
from hw.ir.stream import container, decode, encode
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.requant.requant_arithmetic import divided
from hw.kernels.threshold.kernel import Threshold

Integers = TypeVar("Integers", np.ndarray, int)


def _wrap(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Integers (int64, or Python's own) in the bits of ``dtype``, as an adder that overflows leaves them."""
    mask = (1 << dtype.bitwidth()) - 1
    if values.dtype == object:
        return decode((values & mask).astype(np.uint64), dtype)
    return decode(values.astype(np.int64).view(np.uint64) & np.uint64(mask), dtype)


def _signed(values: Integers, bits: int) -> Integers:
    """Integers (int64, or Python's own) as two's complement of ``bits`` bits, of what they are modulo 2**bits."""
    half = 1 << bits - 1
    return ((values + half) & (2 * half - 1)) - half


def _flipped(codes: np.ndarray, width: int, flips: np.ndarray) -> np.ndarray:
    """Codes (uint64) of ``width`` bits with bits flipped, counted through the codes in order, each from its low bit."""
    result = codes.copy()
    np.bitwise_xor.at(result.reshape(-1), flips // width, np.uint64(1) << (flips % width).astype(np.uint64))
    return result


def _known(values: np.ndarray, dtype: BaseDataType) -> np.ndarray:
    """Values where bits are taken one by one: TERNARY's code without a number, -2, has no lowest bit, so it is 0."""
    return np.where(values == -2, 0, values) if dtype == DataType["TERNARY"] else values


class DamagedMatrixVector(MatrixVector):
    """A ``matrix_vector`` with other weights than it was made for, or, of ``input_planes``, with other ``memory_rows``:
    its memory bit by bit, (NF * SF, PE, ROW)."""

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
            rows = _known(rows, self.input_dtype) if self.datapath == "ternary" else rows
            sums = _product(rows, self.weights.T)
        return (_wrap(sums, self.accumulator_dtype).reshape(len(x), *self.prefix, self.mh),)

    def _planes(self, values: np.ndarray, dtype: BaseDataType) -> tuple[np.ndarray, np.ndarray]:
        """Operands (..., SIMD) as what their planes of signs choose: factors of the sums and of the differences of the
        other side's pairs, (..., pairs) each. A lane that is not there has nothing but positive signs."""
        bipolar = dtype == DataType["BIPOLAR"]
        signs = values.astype(np.int64)
        if not bipolar:  # 2 v is the sum of the planes plus a constant
            planes = self.planes[0]
            signs = 2 * signs + (1 if dtype.signed() or planes > dtype.bitwidth() else 1 - (1 << planes))
        if values.shape[-1] % 2:
            missing = np.full((*values.shape[:-1], 1), 1 if bipolar else (1 << self.planes[0]) - 1)
            signs = np.concatenate((signs, missing), axis=-1)
        return (signs[..., 0::2] + signs[..., 1::2]) // 2, (signs[..., 0::2] - signs[..., 1::2]) // 2

    def _by_inputs(self, x: np.ndarray) -> np.ndarray:
        """Sums (rows, MH) where the memory holds sums and differences of pairs of weights, and an extra term."""
        _, bits, extra_bits = self.planes
        memory = self.memory_rows.reshape(self.nf, self.sf, self.pe, -1)
        pairs = memory[..., : 2 * self.pairs * bits].reshape(self.nf, self.sf, self.pe, self.pairs, 2, bits)
        numbers = _signed(pairs.astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64)), bits)
        shared, apart = self._planes(x.reshape(len(x), self.sf, self.simd), self.input_dtype)
        total = np.zeros((len(x), self.mh), np.int64)  # exact modulo 2**64
        for step in range(self.sf):
            both = numbers[:, step].reshape(self.mh, self.pairs, 2)
            part = _product(shared[:, step], both[..., 0].T) + _product(apart[:, step], both[..., 1].T)
            if extra_bits:
                extra = memory[:, step, :, -extra_bits:].astype(np.int64) @ (1 << np.arange(extra_bits, dtype=np.int64))
                part = (part + _signed(extra, extra_bits).reshape(self.mh)) >> 1
            total = total + part
        return total

    def _by_weights(self, x: np.ndarray) -> np.ndarray:
        """Sums (rows, MH) where sums and differences of pairs of inputs wrap around: they are as wide as the range of
        the undamaged network's inputs asks for."""
        lanes = np.pad(x.reshape(len(x), -1, self.simd).astype(np.int64), ((0, 0), (0, 0), (0, self.simd % 2)))
        even, odd = lanes[..., 0::2], lanes[..., 1::2]
        bits = self.planes[1]
        sums, differences = (_signed(each, bits).reshape(len(x), -1) for each in (even + odd, even - odd))
        weights = self.weights.reshape(self.mh, self.sf, self.simd)
        shared, apart = (each.reshape(self.mh, -1).T for each in self._planes(weights, self.weight_dtype))
        total = _product(sums, shared) + _product(differences, apart)
        if self.weight_dtype == DataType["BIPOLAR"]:
            return total
        return (total - sums.sum(axis=1, keepdims=True)) >> 1


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product of integers: int64, or Python's own where that does not hold it."""
    largest = int(np.abs(a).max(initial=0)) * int(np.abs(b).max(initial=0)) * a.shape[1]
    if largest < 1 << 53:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return a.astype(object) @ b.astype(object)


class DamagedDepthwise(Depthwise):
    """A ``depthwise`` with other ``codes`` in its memory, (words, lanes), than it was made for."""

    codes: np.ndarray

    @property
    def _words(self) -> np.ndarray:
        return self.codes

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        weights = decode(self.codes, self.weight_dtype).reshape(self.k, self.channels)
        windows = x.reshape(-1, self.k, self.channels)
        if self._product.apart == "weight":
            weights = _known(weights, self.weight_dtype)
        else:
            windows = _known(windows, self.input_dtype)
        y = np.zeros((len(windows), self.channels), np.int64)
        for k in range(self.k):  # exact modulo 2**64
            y += windows[:, k].astype(np.int64) * weights[k].astype(np.int64)
        return (_wrap(y, self.output_dtype).reshape(len(x), *self.prefix, self.channels),)


class DamagedThreshold(Threshold):
    """A ``threshold`` with other words in its memories than it was made for."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        table, bits = self._table, self.input_dtype.bitwidth()
        codes = encode(x, self.input_dtype).astype(np.int64)
        if self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]:
            codes ^= 1 << bits - 1
        place = np.arange(codes[0].size).reshape(codes[0].shape)
        row = np.broadcast_to(place % len(table.words), x.shape)
        found = np.zeros(x.shape, np.int64)
        for stage in range(self.code_bits):
            step = 1 << self.code_bits - stage
            bound = table.words[row, found * step + step // 2 - 1]
            found = 2 * found + (codes > bound if table.strict else codes >= bound)
        if self._flags.size:
            found ^= self._flags.ravel()[place % self._flags.size] * ((1 << self.code_bits) - 1)
        if self.output_dtype == DataType["BIPOLAR"]:
            return ((2 * found - 1).astype(container(self.output_dtype)),)
        return (_wrap(found + self._least, self.output_dtype),)


class DamagedRequant(Requant):
    """A ``requant`` with other ``memory_words`` than it was made for."""

    memory_words: list[int]

    def words(self) -> list[int]:
        return self.memory_words

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        plan, product = self.arithmetic, self.product
        a_bits, places = product.addend_bits, product.bits - 1
        reach = plan.x_bits + product.scale + ((1 << places) if product.power else product.bits)
        number = np.int64 if max(reach, a_bits, plan.sum_bits) < 62 else object
        width, factors, addends = product.bits + a_bits, [], []
        for index in range(self.groups * self.lanes):
            group, lane = divmod(index, self.lanes)
            word = self.memory_words[group] >> lane * width
            code = word & (1 << product.bits) - 1
            if product.power:  # (x or ~x, which is -x - 1) << exponent
                sign, factor = -1 if code >> places else 1, 1 << (code & (1 << places) - 1)
                factors.append(sign * factor)
                complement = min(sign, 0) * factor << product.scale
            else:
                factors.append(_signed(code, product.bits) if product.bits else 1)
                complement = 0
            addends.append(complement + (_signed(word >> product.bits, a_bits) if a_bits else 0))
        values = x.astype(np.int64)
        if self.input_dtype == DataType["BIPOLAR"]:
            values = (values + 1) >> 1
        place = np.arange(x[0].size).reshape(x[0].shape) % len(factors)
        scaled = np.array([factor << product.scale for factor in factors], number)
        total = values.astype(number) * scaled[place] + np.array(addends, number)[place]
        y = divided(_signed(total, plan.sum_bits), plan.shift, plan.rounding)
        return (np.clip(y, self.low, self.high).astype(container(self.output_dtype)),)


class DamagedAdd(Add):
    """An ``add`` whose inputs may lie beyond its ranges."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return (_wrap(super().execute(*frames)[0], self.output_dtype),)


class DamagedAccumulatePool(AccumulatePool):
    """An ``accumulate_pool`` whose inputs may lie beyond its range: a row of the window is summed first."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        across = self._image[3]
        window = np.stack(list(self._views(frames[0].astype(np.int64))))
        rows = _wrap(window.reshape(-1, across, *window.shape[1:]).sum(axis=1), self._partial(across))
        return (_wrap(rows.sum(axis=0, dtype=np.int64), self.output_dtype),)


def _again(kind: type[Kernel], kernel: Kernel, **other: object) -> Kernel:
    """A kernel's parameters, some of them others, as another ``kind`` of kernel. They are not checked again."""
    made = object.__new__(kind)
    vars(made).update(vars(kernel) | other)
    return made


@singledispatch
def bits(kernel: Kernel) -> int:
    """Bits of the kernel's memories; 0 where it has none."""
    return 0


@singledispatch
def damaged(kernel: Kernel, flips: np.ndarray) -> Kernel:
    """The kernel with these bits of its memories flipped. Without flips it gives what the kernel gives, and what the
    hardware makes of inputs that the kernel was not made for."""
    return kernel


@bits.register
def _(kernel: MatrixVector) -> int:
    if kernel.datapath == "input_planes":
        return kernel.memory.depth * kernel.memory.width
    return kernel.weights.size * kernel.weight_dtype.bitwidth()


@damaged.register
def _(kernel: MatrixVector, flips: np.ndarray) -> Kernel:
    # The accumulator stays as wide as it was for the right weights.
    kept = {"accumulator_dtype": kernel.accumulator_dtype, "planes": kernel.planes}
    if kernel.datapath == "input_planes":
        rows = _flipped(kernel.rows().astype(np.uint64), 1, flips)
        return _again(DamagedMatrixVector, kernel, **kept, memory_rows=rows)
    codes = _flipped(encode(kernel.weights, kernel.weight_dtype), kernel.weight_dtype.bitwidth(), flips)
    weights = decode(codes, kernel.weight_dtype).astype(np.int64)
    return _again(DamagedMatrixVector, kernel, **kept, weights=weights)


@bits.register
def _(kernel: Depthwise) -> int:
    return kernel.weights.size * kernel.weight_dtype.bitwidth()


@damaged.register
def _(kernel: Depthwise, flips: np.ndarray) -> Kernel:
    codes = _flipped(kernel._words, kernel.weight_dtype.bitwidth(), flips)
    return _again(DamagedDepthwise, kernel, output_dtype=kernel.output_dtype, codes=codes)


@bits.register
def _(kernel: Threshold) -> int:
    return kernel._table.words.size * kernel._table.width + kernel._flags.size


@damaged.register
def _(kernel: Threshold, flips: np.ndarray) -> Kernel:
    table = kernel._table
    bounds = table.words.size * table.width
    words = _flipped(table.words.astype(np.uint64), table.width, flips[flips < bounds]).astype(np.int64)
    flags = _flipped(kernel._flags.astype(np.uint64), 1, flips[flips >= bounds] - bounds).astype(np.int64)
    return _again(DamagedThreshold, kernel, _table=replace(table, words=words), _flags=flags)


@bits.register
def _(kernel: Requant) -> int:
    return kernel.groups * kernel.lanes * (kernel.product.bits + kernel.product.addend_bits)


@damaged.register
def _(kernel: Requant, flips: np.ndarray) -> Kernel:
    words, width = list(kernel.words()), bits(kernel) // kernel.groups
    for flip in flips.tolist():
        words[flip // width] ^= 1 << flip % width
    return _again(DamagedRequant, kernel, memory_words=words)


@damaged.register
def _(kernel: Add, flips: np.ndarray) -> Kernel:
    return _again(DamagedAdd, kernel)


@damaged.register
def _(kernel: AccumulatePool, flips: np.ndarray) -> Kernel:
    return _again(DamagedAccumulatePool, kernel)
