"""Training: the loop, metrics, checkpoints and runs."""
