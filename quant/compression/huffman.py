"""Canonical Huffman codes, and packing of numbers into bytes."""

import heapq

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


def _decode(data: np.ndarray, order: np.ndarray, per_length: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Up to ``count`` symbols of a canonical code, and how many of them ``data`` (bytes) holds.

    ``order``: the symbols by length, then by value. ``per_length`` (64,): code words of each length.

    Code words of one length are consecutive numbers, and those of a greater length continue them. So the bits that
    follow a position, read as a fraction, give the length of the code word there by a search among the ends of the
    lengths' ranges. That is done for all positions at once; then the positions where code words begin are followed.
    """
    longest = int(np.max(np.flatnonzero(per_length), initial=0))
    firsts, index, first = [0], [0], 0  # by length: the first code word, and its symbol in `order`
    for length in range(1, longest + 1):
        first = (first + int(per_length[length - 1] if length > 1 else 0)) << 1
        firsts.append(first)
        index.append(index[-1] + int(per_length[length - 1] if length > 1 else 0))
    symbols, read, position = np.zeros(count, np.int64), 0, 0
    if not longest or firsts[-1] + int(per_length[longest]) > 1 << longest:
        return symbols, 0  # no code, or one with too many words
    ends = [(firsts[n] + int(per_length[n])) << 64 - n for n in range(1, longest)]
    limits, first_words, first_symbols = (np.array(row, np.uint64) for row in (ends, firsts, index))
    padded = np.concatenate((data, np.zeros(9, np.uint8)))
    while read < count and position < 8 * len(data):
        start = position // 8
        words = _words(padded[start : min(start + _CHUNK, len(data)) + 8])
        lengths = np.searchsorted(limits, words, "right") + 1
        steps, at = lengths.tolist(), position - 8 * start
        path: list[int] = []
        while at < len(steps) and len(path) < count - read:
            path.append(at)
            at += steps[at]
        lengths = lengths[path]
        codes = (words[path] >> (64 - lengths).astype(np.uint64)) - first_words[lengths]
        damaged = (codes >= per_length[lengths].astype(np.uint64)) | (path + lengths > 8 * (len(data) - start))
        valid = int(np.argmax(damaged)) if damaged.any() else len(path)
        symbols[read : read + valid] = order[(first_symbols[lengths] + codes)[:valid].astype(np.int64)]
        read, position = read + valid, 8 * start + at
        if valid < len(path):
            break
    return symbols, read


def _words(data: np.ndarray) -> np.ndarray:
    """At every bit of ``data`` (N + 8 bytes) but those of the last eight bytes the 64 bits from there on, uint64."""
    count = len(data) - 8
    word = np.zeros(count, np.uint64)
    for byte in range(8):
        word = word << np.uint64(8) | data[byte : byte + count]
    shift = np.arange(8, dtype=np.uint64)
    next_byte = data[8:, None].astype(np.uint64)
    return (word[:, None] << shift | next_byte >> (np.uint64(8) - shift)).ravel()


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
