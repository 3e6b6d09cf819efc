"""Engines: what looks tables up and keeps their gradients. `base.py` is the seam; `fused.py` kernels on the CPU."""
