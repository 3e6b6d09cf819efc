"""One id a bag of several features of tables that no optimizer owns: the shortest way gives what the others give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import coset.engine.reading as engine
from coset import EmbeddingBagCollection, EmbeddingCollection, FeatureGeneration, Full, QuotientRemainder, Table, pack_
from coset.storage import Packed

from .test_reading import calls, plainly, same  # noqa: F401 - a fixture

N, BAGS = 40, 30


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each call, whether it took the shortest way."""
    found: list[bool] = []
    way = engine.Reader.one_each

    def noted(self: Any, given: Any, joined: bool) -> Any:
        vectors = way(self, given, joined)
        found.append(vectors is not None)
        return vectors

    monkeypatch.setattr(engine.Reader, "one_each", noted)
    return found


def by_the_longer_way(look_up: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Reader, "one_each", lambda *given: None)
        return look_up()


def model(kind: Any = EmbeddingBagCollection, dims: tuple[int, ...] = (8, 8, 8), **options: Any) -> Any:
    torch.manual_seed(0)
    methods = Full(), Full(storage=Packed(8)), QuotientRemainder(num_buckets=7, storage=Packed(4))
    tables = [(Table(str(at), N, dims[at], std=1.0), method) for at, method in enumerate(methods)]
    return pack_(kind(tables, **options)).eval()


def ids(bags: int = BAGS, seed: int = 0, names: str = "012") -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randint(N, (bags,), generator=draw) for name in names}


@pytest.mark.parametrize("kind", [EmbeddingBagCollection, EmbeddingCollection])
@pytest.mark.parametrize("dims", [(8, 8, 8), (4, 6, 2)])
def test_bits_are_those_of_the_longer_way(kind: Any, dims: tuple[int, ...], short: list[bool]) -> None:
    bags = model(kind, dims)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            for given in (ids(), ids(BAGS + 1, 1), ids(0), ids(names="20"), ids(names="1")):
                found, other = bags(given), by_the_longer_way(lambda given=given: bags(given))
                assert list(found) == list(given)
                assert all(found[name].shape == (len(given[name]), dims[int(name)]) for name in given)
                assert all(torch.equal(found[name], other[name]) for name in given)
                found[next(iter(given))].zero_()  # no other feature lies there
                assert all(torch.equal(found[name], other[name]) for name in [*given][1:])
                if kind is EmbeddingBagCollection:
                    joined = by_the_longer_way(lambda given=given: bags.concatenated(given))
                    assert torch.equal(bags.concatenated(given), joined)
            if kind is EmbeddingBagCollection:
                matrix = torch.stack([*ids().values()])
                assert torch.equal(bags.concatenated(matrix), bags.concatenated(ids()))
                same(bags(matrix), bags(ids()))
    assert all(short)


def test_what_it_does_not_suit_is_left_to_the_longer_way(short: list[bool]) -> None:
    bags, given = model(), ids()
    others = (
        given | {"1": given["1"].int()},
        given | {"1": given["1"][:7]},
        given | {"1": given["1"].repeat_interleave(2)[::2]},
        given | {"1": given["1"].view(-1, 1)},
        given | {"1": (given["1"], torch.arange(BAGS))},
    )
    with torch.no_grad():
        expected = bags(given)
        for other in others:
            found = bags(other)
            assert all(torch.equal(found[name], expected[name][: len(found[name])]) for name in given)
        assert short == [True, False, False, False, False, False]
        for wrong in (given["1"].to_sparse(), given["1"].float(), 3):
            with pytest.raises((TypeError, ValueError)):
                bags(given | {"1": wrong})
        with pytest.raises(ValueError, match="unknown feature"):
            bags(given | {"9": given["1"]})
        given["1"][3] = N
        with pytest.raises(IndexError, match=f"'1': id {N} is out of range"):
            bags(given)
    assert not any(short[1:])


def test_tables_of_an_order_or_several_vectors_take_the_longer_way(short: list[bool]) -> None:
    ordered = model(orders={"1": torch.randperm(N)})
    several = EmbeddingCollection([(Table("0", N, 4), Full()), (Table("1", N, 4), FeatureGeneration((7, 6)))]).eval()
    with torch.no_grad():
        for collection, given in ((ordered, ids()), (several, ids(names="01"))):
            same(collection(given), plainly(lambda collection=collection, given=given: collection(given)))
    assert not any(short)


def test_what_is_changed_is_read(short: list[bool]) -> None:
    bags, other, given = model(), model(), ids()
    for parameter in other.parameters():
        parameter.data.mul_(2)
    with torch.no_grad():
        before = bags(given)
        bags.tables["0"].rows.weight.mul_(2)
        torch.testing.assert_close(bags(given)["0"], before["0"] * 2)
        bags.tables = other.tables
        same(bags(given), other(given))
        bags.features["0"] = "1"
        torch.testing.assert_close(bags(given)["0"], plainly(lambda: bags(given))["0"])
        assert short[:2] == [True, True]
    bags = model()
    assert bags(given)["0"].requires_grad
    assert not bags(ids(names="12"))["1"].requires_grad
    assert short[-2:] == [False, True]
