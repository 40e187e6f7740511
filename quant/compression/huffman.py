"""Canonical Huffman codes, and packing of numbers into bytes."""

import heapq

import numpy as np

from quant.errors import QuantError

LENGTH_BITS = 6  # per entry of a stored code; a code word of 64 bits would need more symbols than memory holds
_CHUNK = 1 << 18


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Returns the bits of each symbol's code word: 0 for a symbol that does not occur, 1 if only one symbol occurs."""
    lengths = np.zeros(len(counts), dtype=np.int64)
    used = np.flatnonzero(counts)
    if len(used) == 1:
        lengths[used] = 1
        return lengths
    # (count, tie break, symbols of the subtree); of equal counts the older trees merge first: a flat code
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
    """Returns the code words of the canonical code (uint64), ordered by length, then by symbol."""
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
    """Huffman codes ``symbols`` (N,), whole numbers below ``alphabet``. Returns (code table, coded symbols).

    The table holds the code lengths, 6 bits for each symbol of the alphabet. The code words follow without padding.
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
    """Returns the ``count`` symbols (int64) that ``encode`` coded. Raises QuantError for damaged data."""
    lengths = unpack(table, LENGTH_BITS, alphabet)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    symbols, read = _decode(np.frombuffer(data, dtype=np.uint8), order, np.bincount(lengths, minlength=64), count)
    if read < count:
        raise QuantError("the compressed data end too early or are damaged: encode the network again")
    return symbols


def _decode(data: np.ndarray, order: np.ndarray, per_length: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Decodes up to ``count`` symbols of a canonical code. Returns them and how many of them ``data`` (bytes) contains.

    ``order``: the symbols by length, then by value. ``per_length`` (64,): the number of code words of each length.

    Code words of one length are consecutive numbers, and longer code words continue the sequence. The 64 bits from a
    position on, read as a fraction, therefore determine the length of the code word there: a binary search among the
    upper ends of the lengths' ranges finds it. The search runs for all bit positions at once. A scalar loop then
    follows the positions at which code words begin.
    """
    longest = int(np.max(np.flatnonzero(per_length), initial=0))
    firsts, index, first = [0], [0], 0  # by length: the first code word, and the index of its symbol in `order`
    for length in range(1, longest + 1):
        first = (first + int(per_length[length - 1] if length > 1 else 0)) << 1
        firsts.append(first)
        index.append(index[-1] + int(per_length[length - 1] if length > 1 else 0))
    symbols, read, position = np.zeros(count, np.int64), 0, 0
    if not longest or firsts[-1] + int(per_length[longest]) > 1 << longest:
        return symbols, 0  # no code, or an oversubscribed one
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
    """Returns the 64 bits (uint64) that start at each bit of ``data``, which ends in eight bytes of padding."""
    count = len(data) - 8
    word = np.zeros(count, np.uint64)
    for byte in range(8):
        word = word << np.uint64(8) | data[byte : byte + count]
    shift = np.arange(8, dtype=np.uint64)
    next_byte = data[8:, None].astype(np.uint64)
    return (word[:, None] << shift | next_byte >> (np.uint64(8) - shift)).ravel()


def pack(numbers: np.ndarray, bits: int) -> bytes:
    """Packs unsigned whole numbers with ``bits`` bits each, most significant bit first, without padding."""
    numbers = np.asarray(numbers).ravel().astype(np.uint64)
    return np.packbits(_to_bits(numbers, np.full(len(numbers), bits))).tobytes()


def unpack(data: bytes, bits: int, count: int) -> np.ndarray:
    """Returns the ``count`` numbers (int64) that ``pack`` packed. Raises QuantError if ``data`` is too short."""
    if len(data) * 8 < bits * count:
        raise QuantError("the compressed data end too early: encode the network again")
    flat = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: bits * count].reshape(count, bits)
    return flat.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))


def _to_bits(numbers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the bits (uint8, 0 or 1) of all numbers in sequence, ``lengths`` bits each, most significant first."""
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - 1 - np.arange(ends[-1] if len(ends) else 0)
    return ((np.repeat(numbers, lengths) >> shift.astype(np.uint64)) & np.uint64(1)).astype(np.uint8)
