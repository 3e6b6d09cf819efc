"""Checkpoints that coset did not train: what is in them, and artifacts of their tables.

base           the contract of a reader, and which reader takes a path
readers/       one file a format
tensors        the layout of safetensors files, read and written in pieces
tables         which tensors are tables, and their vectors in the file
frequencies    how often ids occur, from an .npz file
inspecting     what `coset inspect` shows
"""
