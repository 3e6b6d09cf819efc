"""The fingerprint of a data set of ratings."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from coset.data.ratings import Ratings
from coset.documents import Json


def fingerprint(ratings: Ratings) -> Json:
    """The size of a data set, hashes of its columns, its times and its attributes, and the name of its transform."""
    found = hashlib.sha256()
    for column in (ratings.users, ratings.items, ratings.ratings):
        found.update(_bytes(column))
    whole = {"rows": len(ratings), "sha256": found.hexdigest()}
    if ratings.transform is not None:
        whole["transform"] = ratings.transform.name
    if ratings.times is not None:
        found = hashlib.sha256(_bytes(ratings.times))
        whole["times"] = found.hexdigest()
    if ratings.user_attributes is None and ratings.item_attributes is None:
        return whole
    found = hashlib.sha256()
    for role, attributes in (("user", ratings.user_attributes), ("item", ratings.item_attributes)):
        columns = [] if attributes is None else [("", attributes.ids), *sorted(attributes.columns.items())]
        for name, column in columns:
            found.update(json.dumps([role, name, column.dtype.kind, len(column)]).encode())
            found.update(_bytes(column))
    return whole | {"attributes": found.hexdigest()}


def _bytes(column: np.ndarray) -> bytes | memoryview:
    if column.dtype == object:
        return "\0".join(map(str, column)).encode("utf-8", "surrogatepass")
    return np.ascontiguousarray(column).data
