"""Checkpoints made smaller, loaded into their models, and expanded: against `compress_`, which has all in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import coset
from coset.artifact.format import read_manifest
from coset.checkpoints import compress_checkpoint, expand_checkpoint, load_compressed
from coset.checkpoints.tables import OnDisk
from coset.errors import InfeasibleBudget, InputError
from coset.vectors import Vectors
from tests.checkpoints.files import Model, every_format, state, trained
from tests.ratings_files import Coset, tree

IDS = torch.arange(7), torch.arange(14).reshape(7, 2)


def counts(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {"user": draw.permutation(1200 // (1 + np.arange(1200))), "items.movie_emb": 300 // (1 + np.arange(300))}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    save_file(state(), tmp_path / "plain.safetensors")
    np.savez(tmp_path / "counts.npz", **counts())  # type: ignore[arg-type]
    return tmp_path / "plain.safetensors"


def in_memory(budget: str, **options: Any) -> tuple[torch.nn.Module, Any]:
    model = trained()
    report = coset.compress_(model, budget, **options)
    return coset.pack_(model), report


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("budget", ["60%", "25%", "8%"])
def test_the_same_as_compress_in_memory(plain: Path, tmp_path: Path, budget: str, weighted: bool) -> None:
    """Methods, bytes, errors and outputs are those of `compress_`, with counts and without."""
    model, report = in_memory(budget, **({"frequencies": counts()} if weighted else {}))
    found = compress_checkpoint(
        plain, tmp_path / "small", budget, frequencies=tmp_path / "counts.npz" if weighted else None
    )
    mine = {of["name"].removesuffix(".weight"): of for of in found["tables"]}
    for of in report.tables:
        assert mine[of.name]["method"] == of.method.to_json()
        assert mine[of.name]["bytes_after"] == of.bytes_after
        assert mine[of.name]["error"] == pytest.approx(of.error, rel=1e-6)
        assert mine[of.name]["relative"] == pytest.approx(of.relative, rel=1e-6)
    assert found["bytes"] == report.bytes_after <= found["budget"]
    fresh = Model().eval()
    loaded = load_compressed(fresh, tmp_path / "small")
    assert {*loaded.small} | {name.removesuffix(".weight") for name in loaded.full} == {"user", "items.movie_emb"}
    torch.testing.assert_close(fresh(*IDS), model(*IDS), rtol=1e-5, atol=1e-6)


def test_an_order_is_stored_and_read(plain: Path, tmp_path: Path) -> None:
    """Where ids are not in order of popularity and blocks pay, vectors are still those of the same ids."""
    tensors = {"wide_emb.weight": torch.randn(2000, 64)}
    save_file(tensors, plain)
    frequency = np.random.default_rng(0).permutation(100_000 // (1 + np.arange(2000)))
    np.savez(tmp_path / "counts.npz", wide_emb=frequency)
    found = compress_checkpoint(plain, tmp_path / "small", "15%", frequencies=tmp_path / "counts.npz")
    assert found["tables"][0]["note"] == "with an order of ids"
    assert found["bytes"] <= found["budget"]
    assert read_manifest(tmp_path / "small")["tables"]["wide_emb"]["bytes"] == found["bytes"]
    expand_checkpoint(tmp_path / "small", tmp_path / "big.safetensors")
    big = load_file(tmp_path / "big.safetensors")["wide_emb.weight"]
    share = torch.from_numpy(frequency / frequency.sum())
    error = float((share @ (big - tensors["wide_emb.weight"]).double().square().mean(1)) ** 0.5)
    assert error == pytest.approx(found["tables"][0]["error"], rel=1e-5)
    model = torch.nn.ModuleDict({"wide_emb": torch.nn.Embedding(2000, 64)}).eval()
    load_compressed(model, tmp_path / "small")
    torch.testing.assert_close(model["wide_emb"](torch.arange(2000)), big)
    full = torch.nn.ModuleDict({"wide_emb": torch.nn.Linear(64, 2000, bias=False)})
    assert load_compressed(full, tmp_path / "small").full == ("wide_emb.weight",)
    torch.testing.assert_close(full["wide_emb"].weight.data, big)


def test_every_format_gives_the_same_artifact(tmp_path: Path) -> None:
    paths = every_format(tmp_path, state())
    arrays = []
    for name, path in paths.items():
        compress_checkpoint(path, tmp_path / f"small-{name}", "20%")
        arrays.append(load_file(tmp_path / f"small-{name}" / "tables.safetensors"))
    for other in arrays[1:]:
        assert other.keys() == arrays[0].keys()
        assert all(torch.equal(other[key], of) for key, of in arrays[0].items())


def test_expanded_checkpoints_have_all_names_and_types(tmp_path: Path) -> None:
    tensors = state()
    tensors["user.weight"] = tensors["user.weight"].bfloat16()
    path = tmp_path / "x.pt"
    torch.save(tensors | {"again.weight": tensors["user.weight"], "b1": tensors["head.0.bias"], "epoch": 7}, path)
    found = compress_checkpoint(path, tmp_path / "small", "30%")
    assert found["left_out"] == ["epoch"]
    said = expand_checkpoint(tmp_path / "small", tmp_path / "big.safetensors")
    big = load_file(tmp_path / "big.safetensors")
    assert said["tensors"] == len(big) == len(tensors) + 2
    for name, tensor in tensors.items():
        assert (big[name].dtype, big[name].shape) == (tensor.dtype, tensor.shape)
        if name not in ("user.weight", "items.movie_emb.weight"):
            assert torch.equal(big[name], tensor)
    assert torch.equal(big["again.weight"], big["user.weight"])
    assert torch.equal(big["b1"], tensors["head.0.bias"])
    rows = tensors["user.weight"].double()
    relative = float((big["user.weight"].double() - rows).square().mean().sqrt() / rows.square().mean().sqrt())
    assert relative == pytest.approx(found["tables"][0]["relative"], rel=1e-5)


def test_storages_and_methods_limit_the_choice(plain: Path, tmp_path: Path) -> None:
    def chosen(at: int, **options: Any) -> list[Any]:
        found = compress_checkpoint(plain, tmp_path / f"small-{at}", "30%", **options)
        return [of["method"] for of in found["tables"]]

    assert {of["method"] for of in chosen(0, methods=["low_rank"])} <= {"low_rank", "full"}
    for of in chosen(1, storages=["int8"]):
        assert of.get("storage", {"storage": "packed", "bits": 8})["bits"] == 8
    assert {of["method"] for of in chosen(2, methods=["full"], frequencies=tmp_path / "counts.npz")} == {"full"}
    with pytest.raises(InputError, match="unknown method that fits a checkpoint 'low_rnk': did you mean 'low_rank'"):
        chosen(3, methods=["low_rnk"])


def test_tables_are_never_whole_in_memory(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    read = OnDisk.pieces

    def counted(of: Any, start: int = 0, stop: int | None = None) -> Any:
        nonlocal most
        for piece in read(of, start, stop):
            most = max(most, len(piece.rows))
            yield piece

    def refused(of: Any) -> torch.Tensor:
        raise AssertionError("read as a whole")

    monkeypatch.setattr("coset.vectors._NUMBERS_AT_ONCE", 800)
    monkeypatch.setattr(OnDisk, "pieces", counted)
    monkeypatch.setattr(Vectors, "whole", refused)
    compress_checkpoint(plain, tmp_path / "small", "25%")
    assert most == 100


def test_models_on_the_meta_device_tied_weights_and_expand(plain: Path, tmp_path: Path) -> None:
    compress_checkpoint(plain, tmp_path / "small", "25%")
    model = Model().eval()
    load_compressed(model, tmp_path / "small")
    with torch.device("meta"):
        empty = Model().eval()
    load_compressed(empty, tmp_path / "small")
    assert torch.equal(empty(*IDS), model(*IDS))
    wide = Model().eval()
    loaded = load_compressed(wide, tmp_path / "small", expand=["user"])
    assert (loaded.full, type(wide.user)) == (("user.weight",), torch.nn.Embedding)
    torch.testing.assert_close(wide(*IDS), model(*IDS))
    tied = Model().eval()
    tied.register_module("out", torch.nn.Linear(8, 1200, bias=False))
    tied.out.weight = tied.user.weight  # type: ignore[union-attr, assignment]
    before = tied.user.weight
    with pytest.raises(InputError, match=r"module 'user': its weight is tied to 'out.weight'.*expand="):
        load_compressed(tied, tmp_path / "small")
    assert tied.user.weight is before
    assert not before.is_meta
    load_compressed(tied, tmp_path / "small", expand=["user.*"])
    torch.testing.assert_close(tied(*IDS), model(*IDS))
    assert tied.out.weight is tied.user.weight  # type: ignore[union-attr]


def test_models_that_do_not_fit(plain: Path, tmp_path: Path) -> None:
    compress_checkpoint(plain, tmp_path / "small", "25%")
    for change, said in (
        (lambda of: of.add_module("more", torch.nn.Linear(2, 2)), r"the model has 'more.weight' and 1 more tensors"),
        (lambda of: of.head.pop(2), r"unknown tensor of the model, which .*small has, 'head.2.\w+'"),
        (
            lambda of: setattr(of, "user", torch.nn.Embedding(1199, 8)),
            r"'user.weight' has shape \[1200, 8\], and .*1199",
        ),
    ):
        model = Model()
        change(model)
        with pytest.raises(InputError, match=said):
            load_compressed(model, tmp_path / "small")
        assert not any(isinstance(of, coset.EmbeddingBag) for of in model.modules())
    with pytest.raises(InputError, match=r"unknown table to expand 'usr': did you mean 'user"):
        load_compressed(Model(), tmp_path / "small", expand=["usr"])
    with pytest.raises(InputError, match=r"holds the tables of a checkpoint; coset.load_compressed"):
        coset.load_artifact(tmp_path / "small")
    with (tmp_path / "small" / "others.safetensors").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(InputError, match=r"others.safetensors: changed, as its SHA-256"):
        load_compressed(Model(), tmp_path / "small")


def test_what_is_refused_leaves_nothing(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"

    def refused(said: str, budget: str = "25%", kind: type[Exception] = InputError, **options: Any) -> None:
        before = tree(tmp_path)
        with pytest.raises(kind, match=said):
            compress_checkpoint(plain, out, budget, **options)
        assert tree(tmp_path) == before
        assert not out.exists()

    refused(r"its tables take 48KB \(48000 bytes\) already, within the budget", "1MB")
    refused(r"plain.safetensors: .*budget", "50", InfeasibleBudget)
    refused("did you mean 'user'", tables=["usr"])
    np.savez(tmp_path / "c.npz", user=np.ones(1199), **{"items.movie_emb": np.ones(300)})
    refused(r"counts of 'user' have shape \[1199\], and its table has 1,200 rows", frequencies=tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", user=np.ones(1200))
    refused(r"has no counts of 'items.movie_emb.weight'", frequencies=tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", usr=np.ones(1200))
    refused(r"unknown table with counts in .*did you mean 'user", frequencies=tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", user=np.array([None] * 3, dtype=object))
    refused(r"c.npz: not an .npz file of arrays of numbers", frequencies=tmp_path / "c.npz")
    refused(r"gone.npz: not readable as counts", frequencies=tmp_path / "gone.npz")
    np.savez(tmp_path / "c.npz", user=-np.ones(1200), **{"items.movie_emb": np.ones(300)})
    refused(r"frequencies must be finite and not negative", frequencies=tmp_path / "c.npz")
    tensors = state()
    tensors["user.weight"][77, 3] = torch.inf
    save_file(tensors, plain)
    refused(r"plain.safetensors: table 'user': row 77 has a number that is not finite")
    save_file({"layer.weight": torch.ones(4, 4)}, plain)
    refused(r"no tensor looks like an embedding table \(the largest are layer.weight \[4, 4\]\)")
    save_file(state(), plain)
    out.mkdir()
    (out / "x").touch()
    with pytest.raises(InputError, match="exists already"):
        compress_checkpoint(plain, out, "25%")
    compress_checkpoint(plain, tmp_path / "good", "25%")
    for name, said in (("x.pt", "written as .safetensors files"), ("plain.safetensors", "exists already")):
        with pytest.raises(InputError, match=said):
            expand_checkpoint(tmp_path / "good", tmp_path / name)


def test_the_commands(coset: Coset, tmp_path: Path, plain: Path) -> None:
    found = coset("compress", plain.name, "--budget", "20%", "--frequencies", "counts.npz", "--out", "small")
    assert found.code == 0, found.err
    for said in ("user.weight", "tables 48KB", "are handed on as they were", "coset expand small"):
        assert said in found.out
    assert "made smaller" in (tmp_path / "small" / "README.md").read_text()
    assert coset("expand", "small", "--out", "big.safetensors", "--json").json["tensors"] == len(state())
    for words, said in (
        (("compress", plain.name, "--budget", "20%", "--out", "small"), "small: exists already"),
        (("compress", plain.name, "--out", "s"), "give a --budget"),
        (("compress", plain.name, "--budget", "5%", "--plan", "p.json"), "a checkpoint, and --plan is for a run"),
        (("compress", "none", "--budget", "5%", "--table", "u"), "none is a run, and --table is for a checkpoint"),
        (("compress", "gone.pt", "--budget", "5%"), "gone.pt: no such file"),
        (("compress", plain.name, "--budget", "5%", "--table", "head.9"), "did you mean"),
        (("expand", "gone", "--out", "x.safetensors"), "no artifact here"),
    ):
        assert said in coset(*words).sentence, words
