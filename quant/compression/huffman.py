"""Canonical Huffman codes, and packing of numbers into bytes."""

import heapq

import numba
import numpy as np

from quant.errors import QuantError

LENGTH_BITS = 6  # of one entry of a stored code; a code word of 64 bits would need more symbols than memory holds
_CHUNK = 1 << 18


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Length in bits of each symbol's Huffman code word; 0 for symbols that do not occur, 1 for a symbol alone."""
    lengths = np.zeros(len(counts), dtype=np.int64)
    used = np.flatnonzero(counts)
    if len(used) == 1:
        lengths[used] = 1
        return lengths
    # (count, tie break, symbols below); equal counts merge the older trees first, which keeps the code flat
    heap = [(int(counts[symbol]), order, [symbol]) for order, symbol in enumerate(used)]
    heapq.heapify(heap)
    order = len(heap)
    while len(heap) > 1:
        count_a, _, a = heapq.heappop(heap)
        count_b, _, b = heapq.heappop(heap)
        lengths[a] += 1
        lengths[b] += 1
        heapq.heappush(heap, (count_a + count_b, order, a + b))
        order += 1
    return lengths


def _canonical(lengths: np.ndarray) -> np.ndarray:
    """Code words of the canonical code: ascending by length, then by symbol."""
    codes = np.zeros(len(lengths), dtype=np.uint64)
    code, previous = 0, 0
    for symbol in np.argsort(lengths, kind="stable"):
        length = int(lengths[symbol])
        if length == 0:
            continue
        code <<= length - previous
        codes[symbol] = code
        code, previous = code + 1, length
    return codes


def encode(symbols: np.ndarray, alphabet: int) -> tuple[bytes, bytes]:
    """Huffman code of ``symbols`` (N,), whole numbers below ``alphabet``: (the code itself, the coded symbols).

    The code is stored as its lengths, 6 bits a symbol of the alphabet; the symbols follow one another without gaps.
    """
    symbols = np.asarray(symbols, dtype=np.int64).ravel()
    lengths = code_lengths(np.bincount(symbols, minlength=alphabet))
    codes = _canonical(lengths)
    bits = [
        _to_bits(codes[part], lengths[part])
        for part in (symbols[start : start + _CHUNK] for start in range(0, len(symbols), _CHUNK))
    ]
    return pack(lengths, LENGTH_BITS), np.packbits(np.concatenate(bits)).tobytes() if bits else b""


def decode(table: bytes, data: bytes, alphabet: int, count: int) -> np.ndarray:
    """The ``count`` symbols that ``encode`` gave, int64; QuantError for damaged data."""
    lengths = unpack(table, LENGTH_BITS, alphabet)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    symbols, read = _decode(np.frombuffer(data, dtype=np.uint8), order, np.bincount(lengths, minlength=64), count)
    if read < count:
        raise QuantError("the compressed data end too early or are damaged: encode the network again")
    return symbols


@numba.njit(cache=True)
def _decode(data, order, per_length, count):  # type: ignore[no-untyped-def]
    symbols = np.zeros(count, dtype=np.int64)
    position, end = 0, len(data) * 8
    for i in range(count):
        code, first, index = 0, 0, 0
        length = 0
        while True:
            if position >= end or length >= 63:
                return symbols, i
            code = (code << 1) | ((data[position >> 3] >> (7 - (position & 7))) & 1)
            position += 1
            length += 1
            here = per_length[length]
            if code - first < here:
                symbols[i] = order[index + code - first]
                break
            index += here
            first = (first + here) << 1
    return symbols, count


def pack(numbers: np.ndarray, bits: int) -> bytes:
    """Unsigned whole numbers, ``bits`` bits each, most significant first, without gaps; 0 bits give nothing."""
    numbers = np.asarray(numbers).ravel().astype(np.uint64)
    return np.packbits(_to_bits(numbers, np.full(len(numbers), bits))).tobytes()


def unpack(data: bytes, bits: int, count: int) -> np.ndarray:
    """The ``count`` numbers that ``pack`` gave, int64; QuantError if there are fewer."""
    if len(data) * 8 < bits * count:
        raise QuantError("the compressed data end too early: encode the network again")
    flat = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: bits * count].reshape(count, bits)
    return flat.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))


def _to_bits(numbers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The bits (uint8, 0 or 1) of each number in turn, ``lengths`` of them, most significant first."""
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - 1 - np.arange(ends[-1] if len(ends) else 0)
    return ((np.repeat(numbers, lengths) >> shift.astype(np.uint64)) & np.uint64(1)).astype(np.uint8)
