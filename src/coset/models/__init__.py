"""Models that are built from tables."""
