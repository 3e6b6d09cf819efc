from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import InputError
from coset.partitions import MAX_MODULUS, MAX_SEED, MultiplyShift, hash_words

FAR = [0, 1, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 1, 2**53 - 1, 2**53 + 1, 2**62, 2**63 - 1]
ids_lists = st.lists(st.integers(0, 2**63 - 1) | st.sampled_from(FAR), min_size=1, max_size=30)
seeds_lists = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**32 - 1]), min_size=1, max_size=5)


def murmur(word):
    """The finaliser of MurmurHash3 as it is published, on Python integers."""
    word ^= word >> 16
    word = word * 0x85EBCA6B % 2**32
    word ^= word >> 13
    word = word * 0xC2B2AE35 % 2**32
    return word ^ word >> 16


@given(ids_lists, seeds_lists)
def test_words_are_the_same_everywhere_and_broadcast(ids, seeds):
    words = [[hash_words(i, seed) for seed in seeds] for i in ids]
    assert all(type(word) is int and 0 <= word < 2**32 for row in words for word in row)
    by_numpy = hash_words(np.array(ids, dtype=np.int64)[:, None], np.array(seeds, dtype=np.int64))
    by_torch = hash_words(torch.tensor(ids).unsqueeze(-1), torch.tensor(seeds))
    assert by_numpy.shape == by_torch.shape == (len(ids), len(seeds))
    assert by_numpy.tolist() == words
    assert by_torch.tolist() == words
    # One id and many seeds, many ids and one seed, a seed an id.
    assert hash_words(ids[0], np.array(seeds)).tolist() == words[0]
    assert hash_words(ids[0], torch.tensor(seeds)).tolist() == words[0]
    assert hash_words(torch.tensor(ids), seeds[-1]).tolist() == [row[-1] for row in words]
    both = [hash_words(i, i % 2**32) for i in ids]
    assert hash_words(np.array(ids), np.array(ids) % 2**32).tolist() == both


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1))
def test_words_are_those_of_the_published_finaliser(i, seed):
    # Worked in whole Python integers, whereas the code multiplies by halves.
    low, high = i % 2**32, i // 2**32
    mixed = murmur(low ^ murmur(seed ^ 0x9E3779B9))
    assert hash_words(i, seed) == murmur(mixed ^ high ^ murmur(seed ^ 0x7F4A7C15))


def test_words_never_change():
    # Stored tables were trained with these.
    assert [hash_words(i, 0) for i in (0, 1, 7, 2**32, 2**63 - 1)] == FIRST_WORDS[0]
    assert [hash_words(i, 12345) for i in (0, 1, 7, 2**32, 2**63 - 1)] == FIRST_WORDS[1]


FIRST_WORDS: list[list[int]] = [
    [222287032, 4280702226, 1974401977, 2271160773, 1147377608],
    [3578164442, 4026615964, 162260853, 791638615, 3031004672],
]


def test_bits_of_words_are_as_if_drawn():
    words = hash_words(np.arange(4000)[:, None], np.arange(4))
    ones = [(words >> bit & 1).mean() for bit in range(32)]
    assert max(abs(share - 0.5) for share in ones) < 5 * 0.5 / 16000**0.5
    flipped = hash_words(np.arange(4000)[:, None] ^ (1 << np.arange(62)), 3) ^ hash_words(np.arange(4000)[:, None], 3)
    changed = np.array([(flipped >> bit & 1).mean(axis=0) for bit in range(32)])
    assert 0.4 < changed.min() < changed.max() < 0.6  # any bit of an id turns any bit of the word half of the time


@given(ids=ids_lists, modulus=st.integers(1, 2**31), seed=st.integers(0, 2**32 - 1))
def test_hash_is_the_same_everywhere_and_in_range(rows_everywhere, ids, modulus, seed):
    hashed = rows_everywhere(MultiplyShift(modulus, seed), ids)
    assert all(0 <= row < modulus for row in hashed)


@given(st.integers(1, 2**31), st.integers(1, 10**9))
def test_hash_rows_hold_every_row(modulus, n):
    assert MultiplyShift(modulus, 0).rows(n) == modulus


@pytest.mark.parametrize("modulus", [2, 16, 100, 128])
def test_hash_spreads_ids_evenly(modulus):
    for seed, stride in product((0, 1, 77), (1, 2, 128, 100, 2**20, 2**32, 2**40)):
        ids = np.arange(20_000, dtype=np.int64) * stride
        counts = np.bincount(MultiplyShift(modulus, seed)(ids), minlength=modulus)
        expected = len(ids) / modulus
        chi_square = ((counts - expected) ** 2 / expected).sum()
        # Mean modulus - 1, deviation √(2 · (modulus - 1)); eight deviations (the tail of few buckets is long).
        assert chi_square < modulus - 1 + 8 * (2 * (modulus - 1)) ** 0.5 + 8, (seed, stride)


def test_hash_seeds_throw_ids_differently():
    ids = np.arange(10_000, dtype=np.int64)
    rows = [MultiplyShift(100, seed)(ids) for seed in range(4)]
    for at, one in enumerate(rows):
        for other in rows[at + 1 :]:
            assert 0.005 < (one == other).mean() < 0.015  # as by chance: 1 in 100
    assert (rows[0] == MultiplyShift(100, 0)(ids)).all()


def test_hash_mixes_the_upper_half_of_an_id():
    ids = np.arange(1000, dtype=np.int64)
    partition = MultiplyShift(1000, seed=3)
    assert (partition(ids) == partition(ids + 2**32)).mean() < 0.02


def test_hash_shares_rows_as_often_as_chance():
    ids = np.arange(10_000, dtype=np.int64)
    reached = len(np.unique(MultiplyShift(10_000, seed=5)(ids)))
    assert abs(reached - 10_000 * (1 - np.exp(-1))) < 300


@pytest.mark.parametrize(
    ("modulus", "seed"), [(0, 0), (-5, 0), (2.0, 0), (3, -1), (3, 1.5), (2**31 + 1, 0), (3, 2**32)]
)
def test_what_cannot_be_a_hash_is_refused(modulus, seed):
    with pytest.raises(InputError, match=rf"hash: .*{seed if seed else modulus}"):
        MultiplyShift(modulus, seed)


def test_the_limits_are_taken():
    assert MultiplyShift(MAX_MODULUS, MAX_SEED)(2**63 - 1) < MAX_MODULUS
