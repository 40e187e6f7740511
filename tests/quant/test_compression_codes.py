"""k-means against brute force, Huffman codes and packing against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant.compression import huffman
from quant.compression.kmeans import entropy_kmeans, scalar_kmeans, vector_kmeans
from quant.errors import QuantError

few = settings(max_examples=25, deadline=None)
numbers = st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=9)


def within(values: np.ndarray, weights: np.ndarray, index: np.ndarray) -> float:
    return sum(
        float(
            np.sum(
                weights[index == k]
                * (values[index == k] - np.average(values[index == k], weights=weights[index == k])) ** 2
            )
        )
        for k in np.unique(index)
    )


@few
@given(values=numbers, clusters=st.integers(1, 4), data=st.data())
def test_kmeans_against_brute_force(values, clusters, data):
    values = np.array(values)
    weights = np.array(data.draw(st.lists(st.floats(0.125, 4), min_size=len(values), max_size=len(values))))
    best = (
        min(
            within(values, weights, np.array(z)) for z in itertools.product(range(clusters), repeat=min(7, len(values)))
        )
        if len(values) <= 7
        else None
    )
    for init in ("linear", "density", "random", "exact"):
        centroids, index = scalar_kmeans(values, clusters, weights, init)
        assert len(centroids) <= clusters
        assert (np.diff(centroids) > 0).all()
        assert set(index) == set(range(len(centroids)))
        for k, centroid in enumerate(centroids):  # the Hessian-weighted mean
            chosen = index == k
            assert centroid == pytest.approx(np.sum(weights[chosen] * values[chosen]) / weights[chosen].sum(), abs=1e-9)
        cost = np.sum(weights * (values - centroids[index]) ** 2)
        nearest = np.sum(weights * np.min((values[:, None] - centroids) ** 2, axis=1))
        assert cost == pytest.approx(nearest, abs=1e-9)  # each value is at its nearest centroid
        if best is not None:
            assert cost >= best - 1e-9
            assert init != "exact" or cost == pytest.approx(best, abs=1e-9)


def test_kmeans_of_many_values_is_no_worse_than_scikit_learn():
    from sklearn.cluster import KMeans

    values = np.random.default_rng(0).normal(size=20_000)
    centroids, index = scalar_kmeans(values, 16)
    reference = KMeans(16, n_init=1, init=np.linspace(values.min(), values.max(), 16)[:, None]).fit(values[:, None])
    assert np.sum((values - centroids[index]) ** 2) <= reference.inertia_ * 1.001


def test_entropy_constrained_kmeans_lowers_its_cost():
    random = np.random.default_rng(0)
    values, weights = random.normal(size=3000), random.uniform(0.1, 3, 3000)
    start, index = scalar_kmeans(values, 24, weights)

    def cost(centroids, index):
        share = np.bincount(index) / len(index)
        return np.sum(weights * (values - centroids[index]) ** 2) - 0.1 * np.sum(np.log2(share[index]))

    centroids, found = entropy_kmeans(values, start, 0.1, weights)
    assert cost(centroids, found) < cost(start, index)
    assert len(centroids) < len(start)
    plain, same = entropy_kmeans(values, start, 0.0, weights)
    assert np.sum(weights * (values - plain[same]) ** 2) <= np.sum(weights * (values - start[index]) ** 2) + 1e-9


def test_vector_kmeans_keeps_few_distinct_vectors():
    vectors = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    codewords, index = vector_kmeans(vectors, 5)
    assert len(codewords) == 2
    np.testing.assert_array_equal(codewords[index], vectors)


@few
@given(symbols=st.lists(st.integers(0, 19), max_size=60), spare=st.integers(0, 3))
def test_huffman_round_trip(symbols, spare):
    alphabet = max(symbols, default=0) + 1 + spare
    table, coded = huffman.encode(np.array(symbols, dtype=np.int64), alphabet)
    np.testing.assert_array_equal(huffman.decode(table, coded, alphabet, len(symbols)), symbols)
    lengths = huffman.unpack(table, huffman.LENGTH_BITS, alphabet)
    assert len(coded) == -(-int(lengths[symbols].sum() if symbols else 0) // 8)
    if len(set(symbols)) > 1:
        used = np.unique(symbols)
        assert sum(2.0 ** -lengths[used]) == 1.0  # a complete prefix code
        share = np.bincount(symbols)[used] / len(symbols)
        entropy = -np.sum(share * np.log2(share))
        assert entropy - 1e-9 <= np.sum(share * lengths[used]) < entropy + 1


def test_huffman_codes_are_optimal_and_may_be_long():
    # Fibonacci's numbers give the longest code words
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])
    assert sorted(huffman.code_lengths(np.array(counts)))[-1] == 29
    symbols = np.repeat(np.arange(20), counts[:20])
    table, coded = huffman.encode(symbols, 20)
    np.testing.assert_array_equal(huffman.decode(table, coded, 20, len(symbols)), symbols)
    with pytest.raises(QuantError, match="end too early or are damaged"):
        huffman.decode(table, coded[:-5], 20, len(symbols))


@few
@given(bits=st.integers(0, 32), values=st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_packing_round_trip(bits, values):
    values = np.array([value % (1 << bits) for value in values], dtype=np.int64)
    packed = huffman.pack(values, bits)
    assert len(packed) == -(-bits * len(values) // 8)
    np.testing.assert_array_equal(huffman.unpack(packed, bits, len(values)), values)
