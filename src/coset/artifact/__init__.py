"""Artifacts: trained models in a folder that serves, readable without torch or coset.

format         the files, the manifest and its checksum
numbering      vocabularies as sorted arrays that are searched where they lie
holding        tables, arrays and tensors of a model, as the manifest has them
scores         what a run says of its quality, with the spread over seeds
card           the README of an artifact, made of its manifest
writing        from a finished run to a folder
reading        from a folder to a model of torch
"""

from __future__ import annotations

from coset.artifact.reading import Artifact, load_artifact
from coset.artifact.writing import export_run

__all__ = ["Artifact", "export_run", "load_artifact"]
