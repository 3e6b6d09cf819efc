"""Partitions: maps from ids to rows, exact for every 64-bit id.

An arithmetic partition is data, `row = id // divisor % modulus`; the families of the literature differ only in
those two integers. Its expression and that of the hashes are made of integer operators on values that fit 64 bits,
so the same code runs on Python integers, numpy arrays and torch tensors, and nothing overflows or passes through a
float.
"""

from coset.partitions.codes import Codes, tie_breaker
from coset.partitions.collisions import (
    Collisions,
    check_complementary,
    colliding_ids,
    collisions,
    is_complementary,
)
from coset.partitions.families import balanced_moduli, chinese_remainder, coprime_below, coprime_moduli, mixed_radix
from coset.partitions.hashes import MAX_MODULUS, MAX_SEED, MultiplyShift, hash_words
from coset.partitions.maps import Ids, Partition, RowMap, naive, quotient, remainder

__all__ = [
    "MAX_MODULUS",
    "MAX_SEED",
    "Codes",
    "Collisions",
    "Ids",
    "MultiplyShift",
    "Partition",
    "RowMap",
    "balanced_moduli",
    "check_complementary",
    "chinese_remainder",
    "colliding_ids",
    "collisions",
    "coprime_below",
    "coprime_moduli",
    "hash_words",
    "is_complementary",
    "mixed_radix",
    "naive",
    "quotient",
    "remainder",
    "tie_breaker",
]
