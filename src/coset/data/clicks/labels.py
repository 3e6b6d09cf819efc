"""Logs without labels, for predictions."""

from __future__ import annotations

from coset.data.clicks.atomic import without_types
from coset.data.clicks.forms import form_of
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import LogFile
from coset.data.clicks.text import first_row
from coset.data.shards import Shard


def has_label(file: LogFile, schema: ClickSchema) -> bool:
    """Whether the rows of a file have labels: in a column of that name, or in the name of a folder; where the schema
    has the names of all columns, unless the file has one column less; and in libsvm and libffm text before the rest."""
    label = schema.label
    if label in file.keys:
        return True
    if (source := file.source(schema.reader)) is not None:
        return label in source.columns(file.data)
    if schema.names is None and form_of(file) is not None:
        return True
    names = first_row(file, schema)[1]
    if schema.names is None:
        return label in without_types(names, schema.columns)
    return label not in schema.names or len(names) != len(schema.names) - 1


def with_labels(file: LogFile, schema: ClickSchema) -> LogFile:
    """The file, with labels of 0 where it has none, as if the name of a folder gave them."""
    if has_label(file, schema):
        return file
    return LogFile(Shard(file.path, file.name, {**file.keys, schema.label: "0"}))
