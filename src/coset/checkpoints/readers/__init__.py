"""Readers of checkpoints, one file a format."""
