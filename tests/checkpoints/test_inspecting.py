"""What `coset inspect` says of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coset.checkpoints.inspecting import inspect_checkpoint
from coset.errors import InputError
from coset.methods import from_json
from coset.schema import Table
from tests.checkpoints.files import every_format, state
from tests.ratings_files import Coset


def test_tables_and_what_they_could_be(tmp_path: Path) -> None:
    tensors = state()
    paths = every_format(tmp_path, tensors)
    found = inspect_checkpoint(paths["plain.safetensors"])
    assert found["tensors"] == len(tensors)
    assert found["bytes"] == sum(of.nbytes for of in tensors.values())
    by_name = {of["name"]: of for of in found["tables"]}
    assert set(by_name) == {"user.weight", "items.movie_emb.weight"}
    user = by_name["user.weight"]
    assert (user["rows"], user["dim"], user["dtype"], user["bytes"]) == (1200, 8, "float32", 38400)
    assert user["share"] == 38400 / found["bytes"]
    errors = [option["error"] for option in user["options"]]
    assert errors == sorted(errors)
    for option, share in zip(user["options"], (0.5, 0.25, 0.1, 0.05), strict=True):
        assert option["bytes"] == from_json(option["method"]).bytes(Table("user", 1200, 8)) <= 38400 * share
    assert 0 < errors[0] < 0.01 < errors[-1] < 1
    for name in ("plain.pt", "index"):  # and nothing depends on the format
        other = inspect_checkpoint(paths[name])
        assert sorted(map(str, other["tables"])) == sorted(map(str, found["tables"]))


def test_names_and_patterns_decide(tmp_path: Path) -> None:
    tensors = {
        "wte.weight": torch.randn(50, 8), "position_embeddings.weight": torch.randn(64, 8), "out": torch.randn(2000, 4),
        "mlp.weight": torch.randn(300, 13), "emb.norm": torch.randn(40, 2), "ids": torch.arange(4000).reshape(2000, 2),
        "item_emb.bias": torch.randn(40), "wide_emb.weight": torch.randn(4, 300),
    }  # fmt: skip
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)

    def of(*patterns: str) -> dict[str, str]:
        return {each["name"]: each["why"] for each in inspect_checkpoint(path, patterns)["tables"]}

    assert of() == {"wte.weight": "name", "out": "shape"}
    assert of("mlp", "w*.weight") == dict.fromkeys(("mlp.weight", "wte.weight", "wide_emb.weight"), "asked for")
    with pytest.raises(InputError, match=r"no tensor matches --table 'mpl': did you mean 'mlp'"):
        of("mpl")
    with pytest.raises(InputError, match=r"tensor 'ids' is no table, .* but of I64 and shape \[2000, 2\]"):
        of("ids")


def test_numbers_that_are_not_finite_are_said(tmp_path: Path) -> None:
    tensors = state()
    tensors["user.weight"][7, 3] = torch.nan
    save_file(tensors, tmp_path / "x.safetensors")
    user = next(of for of in inspect_checkpoint(tmp_path / "x.safetensors")["tables"] if of["name"] == "user.weight")
    assert "table 'user': row 7 has a number that is not finite" in user["fault"]
    assert user["options"] == []


def test_the_command(coset: Coset, tmp_path: Path) -> None:
    every_format(tmp_path, state())
    table = coset("inspect", "plain.safetensors", "larger.ckpt")
    assert table.code == 0
    for said in (
        "plain.safetensors: 11 tensors",
        "items.movie_emb.weight",
        "shape",
        "1,200",
        "measured on up to 1,200",
    ):
        assert said in table.out
    assert "left out: epoch" in table.out
    found = coset("inspect", "shards", "--table", "user", "--json").json
    assert [of["name"] for of in found["checkpoints"][0]["tables"]] == ["user.weight"]
    assert "did you mean 'user'" in coset("inspect", "plain.pt", "--table", "usr").sentence
    assert (
        "plain.pt is a checkpoint, and --dim is for a run or data" in coset("inspect", "plain.pt", "--dim", 3).sentence
    )
    assert "which has no columns" in coset("inspect", "plain.pt", "--user", "u").sentence
    assert "--table is for a checkpoint" in coset("inspect", "synthetic-ratings", "--table", "u").sentence
    assert "of which one is shown at a time" in coset("inspect", "synthetic-ratings", "plain.pt").sentence
    assert "gone.safetensors: no such file" in coset("inspect", "gone.safetensors").sentence
    torch.save({"layer.weight": torch.ones(4, 4)}, "none.pt")
    assert "none looks like an embedding table" in coset("inspect", "none.pt").out
