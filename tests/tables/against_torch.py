"""A module of coset beside that of torch."""

from coset.methods import Blocks, Full, Hashing, LowRank, QuotientRemainder

N, DIM = 9, 4


METHODS = [Full(), LowRank(2), Hashing(3), QuotientRemainder(3), Blocks((4,), (Full(), Hashing(2)))]


OPTIONS = [
    {},
    {"padding_idx": 2},
    {"padding_idx": -1},
    {"max_norm": 1.0},
    {"max_norm": 0.8, "norm_type": 1.0},
    {"max_norm": 0.5, "norm_type": float("inf")},
    {"scale_grad_by_freq": True},
    {"scale_grad_by_freq": True, "padding_idx": 0},
    {"max_norm": 1.0, "padding_idx": 3, "scale_grad_by_freq": True},
]
