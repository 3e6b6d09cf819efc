import dataclasses
import json
import re

import pytest

from coset.errors import InfeasibleBudget, InputError
from coset.methods import (
    Blocks,
    Full,
    Hashing,
    LowRank,
    Method,
    MixedDimension,
    QuotientRemainder,
    from_json,
    method,
    register,
    registered,
)
from coset.methods.rows import RowMethod
from coset.schema import Table


def test_the_methods_that_coset_brings():
    assert set(registered()) >= {"full", "low_rank", "hashing", "quotient_remainder", "mixed_dimension", "blocks"}
    for name, kind in registered().items():
        assert kind.name == name
        assert issubclass(kind, Method)
        assert isinstance(kind.version, int)


def test_a_method_by_name():
    assert method("low_rank", rank=3) == LowRank(rank=3)
    assert method("full") == Full()
    assert method("quotient_remainder", num_buckets=9, operation="add") == QuotientRemainder(9, "add")


@pytest.mark.parametrize(
    ("given", "nearest"), [("low_rnk", "low_rank"), ("quotient_remander", "quotient_remainder"), ("ful", "full")]
)
def test_an_unknown_name_suggests_the_nearest(given, nearest):
    with pytest.raises(InputError, match=f"'{given}'.*'{nearest}'"):
        method(given)
    with pytest.raises(InputError, match=f"'{nearest}'"):
        from_json({"method": given})


@pytest.mark.parametrize("fields", [{}, {"num_buckets": 4, "bucket": 3}, {"num_buckets": "many"}, {"num_buckets": 2.5}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(InputError, match="bucket"):
        method("hashing", **fields)


@pytest.mark.parametrize("field", [{"hash": "md5"}, {"hash": 3}])
def test_a_value_that_no_variant_has_is_refused(field):
    with pytest.raises(InputError, match="hash"):
        method("hashing", num_buckets=4, **field)


@pytest.mark.parametrize("value", [{}, {"method": 3}, {"rank": 3}])
def test_json_without_a_method_is_refused(value):
    with pytest.raises(InputError, match="method"):
        from_json(value)


@pytest.mark.parametrize("value", [0, None, 2.5, ["low_rank"], Full])
def test_what_is_no_method_is_refused_in_a_sentence(value):
    with pytest.raises(InputError, match=rf"^a method is a name .*not {re.escape(repr(value))}$"):
        method(value)


def test_json_of_a_later_version_is_refused():
    for version in (LowRank.version + 1, True):
        with pytest.raises(InputError, match="version"):
            from_json({**LowRank(2).to_json(), "version": version})


def test_nested_methods_pass_through_json_text():
    inner = Blocks((5,), (Full(), Hashing(3, hash="multiply_shift", seed=9)))
    outer = Blocks((10, 40), (Full(), inner, MixedDimension((30, 30), (4, 2), layout="keras")))
    assert from_json(json.loads(json.dumps(outer.to_json()))) == outer


def test_a_second_method_of_the_same_name_is_refused():
    with pytest.raises(InputError, match="'full'"):

        @register("full")
        @dataclasses.dataclass(frozen=True)
        class Another(Full):
            pass

    assert registered()["full"] is Full


def test_methods_are_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LowRank(2).rank = 3
    assert len({LowRank(2), LowRank(2), LowRank(3)}) == 2


@pytest.mark.parametrize("name", ["low_rank", "hashing", "quotient_remainder", "mixed_dimension", "blocks", "full"])
def test_an_infeasible_budget_says_what_would_do(name):
    table = Table("user", 6040, 64)
    with pytest.raises(InfeasibleBudget, match="'user'") as caught:
        registered()[name].for_budget(table, 3)
    assert registered()[name].for_budget(table, caught.value.floor).bytes(table) == caught.value.floor


def test_a_part_of_a_method_needs_no_registered_name():
    @dataclasses.dataclass(frozen=True)
    class Narrow(RowMethod):
        width: int

        def composition(self, table):
            raise NotImplementedError

        @classmethod
        def sizes(cls, table, **fixed):
            raise NotImplementedError

        def __post_init__(self):
            super().__post_init__()
            self._at_least(1, "width")

    assert Narrow(3).width == 3
    with pytest.raises(InputError, match=r"'Narrow': width must be of type int"):
        Narrow("wide")
    with pytest.raises(InputError, match=r"'Narrow': width must be at least 1, not 0"):
        Narrow(0)


@pytest.mark.parametrize("name", sorted(registered()))
def test_a_budget_is_a_finite_number(name):
    for budget in (float("nan"), float("inf"), -float("inf"), True, "1MB", None):
        with pytest.raises(InputError, match="'t': max_bytes is a finite number of bytes, not"):
            registered()[name].for_budget(Table("t", 100, 8), budget)
