"""`prepare_later`: rows of a later log as numbers and ids by what was learned of an earlier one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coset import settings as fields
from coset.data.clicks.block import Block, Keys
from coset.data.clicks.columns import file_name
from coset.data.clicks.parquet import parquet_blocks
from coset.data.clicks.prepare import log_files
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.source import LogFile
from coset.data.clicks.store import ClickData
from coset.data.clicks.stream import ahead
from coset.data.clicks.text import Layout, text_blocks
from coset.data.clicks.vocabulary import ClickVocabulary
from coset.data.clicks.write import ClickWriter
from coset.errors import InputError
from coset.kernels import distinct
from coset.partitions import MultiplyShift

PART = "training"
"""The part of what is written that holds the rows: data have no other part without this one."""


def prepare_later(prepared: ClickData, log: str | Path, out: str | Path) -> ClickData:
    """Write the rows of `log` to the folder `out`, all in one part, with the vocabularies, hashes, means and deviations
    of `prepared`: for a model that was trained on these.

    Args:
        prepared: what `coset prepare` made of an earlier log of the same schema.
        log: a file, a folder of files, or a built-in name.
        out: a folder, empty or missing.

    Raises:
        InputError: `prepared` was not made of a log; a row of the log is bad, or a category has no id and is refused.
    """
    if "schema" not in prepared.facts or "settings" not in prepared.facts:
        raise InputError(f"{prepared.folder}: not prepared from a log, so no later log has its columns")
    schema = fields.make(ClickSchema, prepared.facts["schema"], "schema")
    chosen = fields.make(PrepareSettings, prepared.facts["settings"], "prepare")
    numbered = {name: _numbering(prepared, name, chosen) for name in schema.features}
    threads = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    name = Path(log).name.partition(".")[0]
    with (
        ThreadPoolExecutor(threads) as pool,
        ClickWriter(out, name, prepared.numeric, prepared.features, synthetic=prepared.synthetic) as writer,
    ):
        for path in log_files(log):
            for block in _blocks(LogFile(path), schema, pool, threads):
                if block.bad:
                    raise InputError(f"{path}, row {block.bad[0].row}: {block.bad[0].reason}; correct or remove it")
                ids = {name: find(block.features[name]) for name, find in numbered.items()}
                lists = {}
                for name in prepared.multi_hot:
                    lengths = block.features[name].lengths
                    assert lengths is not None
                    lists[name] = ids[name], lengths
                numbers = _numeric(block, schema, chosen, prepared)
                writer.append(PART, block.labels, numbers, [ids[name] for name in prepared.one_hot], lists)
    return ClickData.open(out)


def _blocks(file: LogFile, schema: ClickSchema, pool: ThreadPoolExecutor, threads: int) -> Iterator[Block]:
    thread = partial(ahead, depth=2)
    if file.is_parquet:
        return parquet_blocks(file, schema, thread, 0)
    return text_blocks(file, Layout.of(file, schema), pool, threads, thread, 0, 1)


def _numbering(prepared: ClickData, name: str, chosen: PrepareSettings) -> Callable[[Keys], np.ndarray]:
    """The ids of the categories of a feature."""
    buckets = chosen.buckets(name)
    if buckets is None:
        vocabulary = ClickVocabulary.load(prepared.folder / "vocabularies" / f"{file_name(name)}.safetensors")
        return lambda keys: vocabulary.ids(keys.keys, keys.missing)
    lower, upper = MultiplyShift(buckets, chosen.hash_seed).keys

    def hashed(keys: Keys) -> np.ndarray:
        numbers = np.empty(len(keys.keys), dtype=np.int32)
        distinct.hashed(keys.keys, keys.missing, lower, upper, buckets, numbers)
        numbers[numbers < 0] = buckets  # missing ones have a row of their own behind the buckets
        return numbers

    return hashed


def _numeric(block: Block, schema: ClickSchema, chosen: PrepareSettings, prepared: ClickData) -> np.ndarray:
    """Numbers as a model sees them, by the steps and in the types of `prepare`; shape `(rows, columns)`."""
    found = np.empty((len(block.labels), len(prepared.numeric)), dtype=np.float32)
    every, none = np.zeros(len(found), dtype=np.bool_), np.empty(0, dtype=np.float32)
    column = np.empty(len(found), dtype=np.float32)
    for name, values in zip(schema.numeric, block.numeric, strict=True):
        if chosen.log:
            values = np.copysign(np.log1p(np.abs(values)), values)
        kept = values.astype(np.float32)
        facts: dict[str, Any] = prepared.facts["numeric"][name]
        distinct.part_numbers(kept, facts["mean"], facts["std"], every, column, none)
        found[:, prepared.numeric.index(name)] = column
        if f"{name}:missing" in prepared.numeric:
            found[:, prepared.numeric.index(f"{name}:missing")] = np.isnan(kept)
    return found
