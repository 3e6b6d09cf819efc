"""coset: memory-efficient embedding tables for recommender models, on PyTorch."""

__version__ = "0.1.0"
