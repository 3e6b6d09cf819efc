"""Experiments: recipes, and one file for each command."""
