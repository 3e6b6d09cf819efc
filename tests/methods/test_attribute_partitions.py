import numpy as np
import pytest
import torch
from torch import nn

from coset.errors import InputError, Unsuitable
from coset.methods import AttributePartitions, Blocks, Full
from coset.partitions import Codes
from coset.schema import Table
from coset.tables import Embedding, EmbeddingCollection
from coset.testing.cases import stored

YEAR, MAKE, TYPE = [0, 0, 1, 1, 2], [0, 1, 0, 1, 0], [1, 1, 1, 0, 0]


def cars(dim=4, **attributes):
    return Table("car", 5, dim, attributes=attributes or {"year": YEAR, "make": MAKE, "type": TYPE})


@pytest.mark.parametrize(
    ("operation", "dim", "expected"),
    [("mult", 2, [30.0, 3 * 7 * 11]), ("add", 2, [10.0, 21.0]), ("concat", 4, [2.0, 3.0, 3.0, 5.0])],
)
def test_a_car_worked_by_hand(operation, dim, expected):
    # Car 2 is of year 1, make 0, type 1.
    module = AttributePartitions(operation=operation).build(cars(dim))
    with torch.no_grad():
        for parameter, code, values in zip(module.parameters(), (1, 0, 1), ((2, 3), (3, 7), (5, 11)), strict=True):
            parameter.zero_()
            parameter[code] = torch.tensor(values)[: parameter.shape[1]]
    assert module.lookup(torch.tensor(2)).tolist() == expected


def test_rows_are_the_codes_and_codes_are_counted():
    components = AttributePartitions(("year", "make")).components(cars(8))
    assert [(c.shape, c.kind, c.dtype) for c in components] == [
        ((5,), "index", torch.uint8), ((5,), "index", torch.uint8),
        ((3, 8), "parameter", torch.float32), ((2, 8), "parameter", torch.float32),
    ]  # fmt: skip
    assert AttributePartitions(("year", "make")).bytes(cars(8)) == (3 + 2) * 8 * 4 + 2 * 5


def test_wide_codes_take_wide_types():
    many = Table("item", 1000, 4, attributes={"one": np.arange(1000), "two": np.arange(1000) % 3})
    sizes = {c.key: c.bytes for c in AttributePartitions().components(many) if c.kind == "index"}
    assert sorted(sizes.values()) == [1000, 2000]  # a byte, and two


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_no_two_ids_have_the_same_vector(operation):
    ids = np.arange(5000)
    table = Table(
        "item", 5000, 6, dtype=torch.float64,
        attributes={"a": ids % 17, "b": ids // 17 % 17, "c": ids // 289},
    )  # fmt: skip
    torch.manual_seed(0)
    assert len(AttributePartitions(operation=operation).build(table).materialize().unique(dim=0)) == 5000
    one = AttributePartitions(("a",), number=True, operation=operation).build(table).materialize()
    assert len(one.unique(dim=0)) == 5000


def test_the_number_tells_apart_very_many_ids():
    draw = np.random.default_rng(0)
    n = 300_000
    columns = {"zip": draw.integers(0, 900, n), "age": draw.integers(0, 60, n)}
    parts = AttributePartitions(number=True).descriptor(Table("user", n, 4, attributes=columns)).parts
    ids, number = np.arange(n), np.zeros(n, dtype=np.int64)
    for part in parts:
        assert isinstance(part.partition, Codes)
        number = number * part.rows + part.partition(ids)
    assert len(parts) == 3
    assert len(np.unique(number)) == n


def test_ids_of_one_value_share_a_part():
    module = AttributePartitions(("year", "make"), operation="concat").build(cars(4))
    vectors = module.materialize()
    assert torch.equal(vectors[0, :2], vectors[1, :2])  # of one year
    assert torch.equal(vectors[0, 2:], vectors[2, 2:])  # of one make
    assert not torch.equal(vectors[0, :2], vectors[2, :2])


@pytest.mark.parametrize(
    ("columns", "dim", "widths", "expected"),
    [((), 8, None, [3, 3, 2]), ((), 7, (4, 1, 2), [4, 1, 2]), (("make", "year"), 5, None, [3, 2])],
)
def test_widths_make_the_dim(columns, dim, widths, expected):
    method = AttributePartitions(columns, operation="concat", widths=widths)
    assert [c.width for c in method.components(cars(dim)) if c.kind == "parameter"] == expected
    assert method.build(cars(dim)).materialize().shape == (5, dim)


def test_columns_come_in_the_order_that_is_asked_for():
    parts = AttributePartitions(("make", "year")).descriptor(cars()).parts
    assert [part.rows for part in parts] == [2, 3]


@pytest.mark.parametrize(
    "name", ["type", "order", "table", "method", "forward", "weight", "a.b", "año", "1", "", "rows"]
)
def test_a_column_may_have_any_name(name):
    # Among them names of what a module has already, and of what tables keep beside their rows.
    table = cars(4, **{name: YEAR, "make": MAKE})
    order = torch.tensor([4, 2, 0, 1, 3])
    module = Embedding.from_table(table, AttributePartitions())
    ordered = Embedding.from_table(table, AttributePartitions(), order=order)
    rows = {key: value for key, value in module.state_dict().items() if key.endswith("weight")}
    assert ordered.load_state_dict(rows, strict=False).unexpected_keys == []
    assert torch.equal(ordered.materialize(), module.materialize())  # codes belong to ids, whatever their order
    predicted = {c.key: c.shape for c in AttributePartitions().components(table)}
    assert predicted == {key.removeprefix("tables.car."): tuple(value.shape) for key, value in stored(module).items()}
    assert AttributePartitions((name, "make")).build(table).lookup(torch.tensor([1])).shape == (1, 4)
    assert all(isinstance(inner, nn.Module) for inner in module.modules())


def test_names_that_differ_in_a_dot_alone_are_refused():
    with pytest.raises(InputError, match=r"'car'.*a\.b.*a_b.*rename"):
        AttributePartitions().check(cars(4, **{"a.b": YEAR, "a_b": MAKE}))


def test_the_name_of_the_number_is_taken():
    with pytest.raises(InputError, match=r"'car'.*'number'.*rename"):
        AttributePartitions().check(cars(4, year=YEAR, number=MAKE))


def test_columns_that_do_not_tell_ids_apart_are_refused_by_two_of_them():
    # Without the year, cars 0 and 2 are both of make 0 and type 1.
    for act in ("check", "components", "build"):
        with pytest.raises(InputError, match=r"'car'.*make, type do not tell ids 0 and 2 apart.*number = True"):
            getattr(AttributePartitions(("make", "type")), act)(cars())
    AttributePartitions(("make", "type"), number=True).check(cars())


def test_an_unknown_column_suggests_the_nearest():
    with pytest.raises(InputError, match=r"table 'car'.* 'yaer': did you mean 'year'"):
        AttributePartitions(("yaer", "make")).check(cars())
    with pytest.raises(InputError, match=r"table 'car'.* 'colour': known are make, type, year"):
        AttributePartitions(("colour",)).components(cars())


def test_a_table_without_attributes_is_refused():
    for act in ("check", "components", "build"):
        with pytest.raises(Unsuitable, match=r"'car'.*attributes.*has none"):
            getattr(AttributePartitions(), act)(Table("car", 5, 4))


def test_a_column_twice_is_refused():
    with pytest.raises(InputError, match=r"distinct.*'year', 'year'"):
        AttributePartitions(("year", "year"))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([0, 1, 2, 3], r"shape \(4,\), expected \(5,\)"),
        ([0, 1, 2, 3, 4, 5], r"shape \(6,\), expected \(5,\)"),
        ([[0], [1], [2], [3], [4]], r"shape \(5, 1\), expected \(5,\)"),
        ([0.0, 1.0, 2.0, 3.0, 4.0], "whole numbers of 0 or more, not float64"),
        ([0, 1, 2, -3, 4], "whole numbers of 0 or more, not -3"),
        ([True, False] * 2 + [True], "whole numbers"),
        (["1960"] * 5, "5 numbers"),
    ],
)
@pytest.mark.parametrize(
    "how",
    [
        lambda n, dim, attributes: Table("car", n, dim, attributes=attributes),
        lambda n, dim, attributes: Embedding(n, dim, AttributePartitions(), name="car", attributes=attributes),
    ],
    ids=["table", "embedding"],
)
def test_a_wrong_column_is_refused_by_table_and_name(column, said, how):
    attributes = {"make": MAKE, "year": column}
    with pytest.raises(InputError, match=f"'car'.*'year'.*{said}"):
        how(5, 4, attributes)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"'car'.*3 widths.*sum to embedding_dim 8.*\[4, 4\].*\[3, 3, 2\] would do"):
        AttributePartitions(operation="concat", widths=(4, 4)).check(cars(8))
    with pytest.raises(InputError, match=r"'car'.*concat of 3 parts.*at least 3, not 2"):
        AttributePartitions(operation="concat").check(cars(2))
    with pytest.raises(InputError, match="widths must be at least 1"):
        AttributePartitions(operation="concat", widths=(0, 4, 4))
    with pytest.raises(InputError, match="widths are for operation 'concat', not 'add'"):
        AttributePartitions(operation="add", widths=(4, 4))


def test_the_one_size_takes_the_number_only_where_it_is_needed():
    (together,) = AttributePartitions.sizes(cars())
    (two,) = AttributePartitions.sizes(cars(), columns=("make", "type"))
    assert not together.number
    assert two.number
    assert two.columns == ("make", "type")


def test_blocks_hand_the_codes_of_their_ids_on():
    table = Table("car", 5, 3, attributes={"year": YEAR, "make": MAKE})
    module = Blocks((2,), (Full(), AttributePartitions(operation="concat", widths=(1, 2)))).build(table)
    vectors = module.materialize()
    assert torch.equal(vectors[2, 0], vectors[3, 0])  # both of year 1
    assert torch.equal(vectors[2, 1:], vectors[4, 1:])  # both of make 0


def test_a_state_with_other_codes_is_refused():
    one = EmbeddingCollection([(Table("car", 4, 2, attributes={"make": [0, 1, 2, 3]}), AttributePartitions())])
    other = EmbeddingCollection([(Table("car", 4, 2, attributes={"make": [3, 2, 1, 0]}), AttributePartitions())])
    before = other.tables["car"].materialize()
    with pytest.raises(
        InputError, match=r"'car'.*by_make_codes, from id 0 on \(0 there, 3 here\); give the attributes"
    ):
        other.load_state_dict(one.state_dict())
    assert torch.equal(other.tables["car"].materialize(), before)
