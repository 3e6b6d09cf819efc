"""Optimizers that own tables: lookups, sums of gradients and updates by kernels, at a cost that follows the batch."""

from coset.optimizers.algorithms import SGD, Adagrad, Adam, RowWiseAdagrad
from coset.optimizers.base import TableOptimizer

__all__ = ["SGD", "Adagrad", "Adam", "RowWiseAdagrad", "TableOptimizer"]
