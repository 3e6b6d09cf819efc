"""What a comparison of data takes where the user names no methods."""

from __future__ import annotations

from pathlib import Path

from coset.experiments.subject import RecipeOptions
from coset.methods import registered


def test_costly_methods_are_compared_only_where_they_are_asked_for(small_csv: Path) -> None:
    every = {name for name, of in registered().items() if not of.row_per_id}
    by_default = RecipeOptions().comparison(str(small_csv))
    assert {row.method for row in by_default.rows if row.method} == every - {"deep_hash", "path_based", "tensor_train"}
    assert by_default.notes[-1].startswith(
        "deep_hash, path_based and tensor_train are left out, as each trains ten times"
    )
    asked = RecipeOptions(methods=["all"]).comparison(str(small_csv))
    assert {row.method for row in asked.rows if row.method} == every
    assert not any("are left out" in note for note in asked.notes)
