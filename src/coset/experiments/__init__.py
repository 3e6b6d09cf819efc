"""Experiments: recipes, comparisons, and how their results are shown."""
