"""Storages: how the numbers of one stored array are kept, one file each."""
