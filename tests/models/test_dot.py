"""The dot model: values by hand, gradients, what it stores, and the counts that are known from elsewhere."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coset import ledger
from coset.errors import InputError
from coset.methods import Full, Method, method, registered
from coset.models.dot import DotModel, DotSettings
from coset.models.history import Histories
from coset.schema import EXTRA, Table

USER = [[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0]]
MOVIE = [[0.5, 0.25], [2.0, -1.0]]


def small(**choices: Any) -> DotModel:
    """Three users, two movies; vectors and biases by hand."""
    settings = DotSettings(**({"embedding_dim": 2, "low": 1.0, "high": 5.0} | choices))
    dim = max(1, settings.embedding_dim)
    model = DotModel(Table("user", 3, dim), Table("movie", 2, dim), {}, settings, mean=3.5)
    with torch.no_grad():
        if model.embeddings is not None:
            (user,), (movie,) = (list(model.embeddings.tables[name].parameters()) for name in ("user", "movie"))
            user.copy_(torch.tensor(USER))
            movie.copy_(torch.tensor(MOVIE))
        if model.biases is not None:
            (user,), (movie,) = (list(model.biases.tables[name].parameters()) for name in ("user", "movie"))
            user.copy_(torch.tensor([[0.5], [-0.5], [8.0]]))
            movie.copy_(torch.tensor([[0.25], [-0.125]]))
    return model


def scores(model: DotModel) -> tuple[list[float], list[float]]:
    found = model(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 1]))
    return found.prediction.tolist(), found.squared_norm.tolist()


def sigmoid(score: float) -> float:
    return 1 / (1 + exp(-score))


# user 0 · movie 1 = 2 - 2 = 0; user 1 · movie 0 = -0.5 + 0.125; user 2 · movie 1 = -3
DOTS = [0.0, -0.375, -3.0]
NORMS = [5 + 5, 1.25 + 0.3125, 9 + 5]


def test_sigmoid_without_biases() -> None:
    prediction, norm = scores(small())
    assert prediction == pytest.approx([1 + 4 * sigmoid(dot) for dot in DOTS], rel=1e-6)
    assert norm == pytest.approx(NORMS)


def test_a_linear_score_keeps_its_mean_without_biases() -> None:
    model = small(output="linear")
    prediction, norm = scores(model)
    assert prediction == pytest.approx([3.5 + dot for dot in DOTS])
    assert norm == pytest.approx(NORMS)
    assert [component.key for component in model.components() if "embeddings" not in component.key] == ["mean"]
    model(torch.tensor([0]), torch.tensor([0])).prediction.sum().backward()
    assert model.mean is not None
    assert model.mean.grad == 1
    assert small().mean is None  # a sigmoid of 0 is the middle of the range


def test_linear_with_biases() -> None:
    prediction, norm = scores(small(biases=True, output="linear"))
    offsets = [3.5 + 0.5 - 0.125, 3.5 - 0.5 + 0.25, 3.5 + 8.0 - 0.125]
    assert prediction == pytest.approx([dot + offset for dot, offset in zip(DOTS, offsets, strict=True)])
    squares = [0.25 + 0.125**2, 0.25 + 0.0625, 64 + 0.125**2]
    assert norm == pytest.approx([a + b for a, b in zip(NORMS, squares, strict=True)])


def with_history(most: int = 9, **choices: Any) -> DotModel:
    """`small`, where user 0 rated both movies, user 1 the second, and user 2 nothing; and the vectors of movies in
    histories by hand."""
    settings = DotSettings(embedding_dim=2, low=1.0, high=5.0, output="linear", history=most, **choices)
    packed = Histories.of(np.array([0, 1, 0]), np.array([1, 1, 0]), users_in_all=3, most=most)
    model = DotModel(Table("user", 3, 2), Table("movie", 2, 2), {}, settings, 3.5, packed)
    assert model.embeddings is not None
    with torch.no_grad():
        for name, values in (("user", USER), ("movie", MOVIE), ("rated_movie", RATED)):
            (weight,) = model.embeddings.tables[name].parameters()
            weight.copy_(torch.tensor(values))
    return model


RATED = [[1.0, -2.0], [4.0, 0.5]]


def test_a_history_moves_its_user_by_what_others_than_the_item_add_up_to() -> None:
    model = with_history()
    users, items = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 0])
    moved = [
        (1 + 4, 2 + 0.5),  # of the history without movie 0, the second
        (1 + 1, 2 - 2),
        (-1 + 4, 0.5 + 0.5),  # movie 0 is not in it
        (-1, 0.5),  # nothing is left
        (0, 3),
    ]
    wanted = [3.5 + u * MOVIE[i][0] + v * MOVIE[i][1] for (u, v), i in zip(moved, items.tolist(), strict=True)]
    found = model(users, items)
    assert found.prediction.tolist() == pytest.approx(wanted)
    assert model(users[2:3], items[2:3]).prediction.tolist() == pytest.approx(wanted[2:3])
    assert found.rated is not None
    assert found.rated.items.tolist() == [0, 1]
    assert found.rated.squares.tolist() == pytest.approx([5, 16.25])
    assert found.rated.lookups.tolist() == pytest.approx([1, 3])  # two ratings of user 0 by a half, two of user 1
    assert model(users[4:], items[4:]).prediction.tolist() == pytest.approx(wanted[4:])


def test_a_longer_history_is_divided_by_its_root() -> None:
    settings = DotSettings(embedding_dim=1, low=1.0, high=5.0, output="linear", history=100)
    packed = Histories.of(np.zeros(4, np.int64), np.arange(4), users_in_all=1, most=100)
    model = DotModel(Table("user", 1, 1), Table("movie", 6, 1), {}, settings, 3.5, packed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    found = model(torch.tensor([0, 0]), torch.tensor([5, 2])).prediction.tolist()
    assert found == pytest.approx([1 + 1 + 4 / 4**0.5, 1 + 1 + 3 / 3**0.5])


def test_what_a_model_with_histories_stores() -> None:
    model = with_history()
    state = {name: value for name, value in model.state_dict().items() if not name.endswith(EXTRA)}
    assert {component.key: component.bytes for component in model.components()} == {
        name: value.nbytes for name, value in state.items()
    }
    assert ledger.inference_bytes(model.components()) == (3 + 2 + 2) * 2 * 4 + 4 + 3 * 4 + 3
    assert ledger.measure(model).inference == ledger.inference_bytes(model.components())


def test_histories_go_with_their_setting() -> None:
    settings = DotSettings(embedding_dim=2, low=1.0, high=5.0, history=5)
    with pytest.raises(InputError, match="needs the histories of users"):
        DotModel(Table("user", 3, 2), Table("movie", 2, 2), {}, settings)
    with pytest.raises(InputError, match="history must be 0 or more items"):
        DotSettings(history=-1)
    packed = Histories.of(np.array([0]), np.array([1]), users_in_all=3, most=9)
    with pytest.raises(InputError, match="the tables are 'user', 'movie' and 'rated_movie'"):
        DotModel(Table("user", 3, 2), Table("movie", 2, 2), {"film": Full()}, settings, 3.5, packed)
    assert not DotSettings(embedding_dim=0, biases=True, history=5).has_history


def test_biases_alone() -> None:
    model = small(embedding_dim=0, biases=True, output="linear")
    prediction, norm = scores(model)
    assert prediction == pytest.approx([3.875, 3.25, 11.375])
    assert norm == pytest.approx([0.25 + 0.125**2, 0.25 + 0.0625, 64 + 0.125**2])
    assert model.predict(torch.tensor([2]), torch.tensor([1])).item() == 5.0


def test_the_mean_of_a_sigmoid_is_the_score_of_the_mean_rating() -> None:
    model = small(biases=True)
    assert model.mean.item() == pytest.approx(log(2.5 / 1.5))  # 3.5 is 2.5/4 of the way from 1 to 5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "mean":
                parameter.zero_()
    assert model(torch.tensor([0]), torch.tensor([0])).prediction.item() == pytest.approx(3.5)


def test_predictions_stay_within_the_range_and_training_sees_beyond_it() -> None:
    model = small(biases=True, output="linear")
    users, items = torch.tensor([2, 1, 2]), torch.tensor([0, 1, 1])
    raw = model(users, items).prediction
    assert raw.max().item() > 5.0
    assert raw.min().item() < 1.0
    assert torch.equal(model.predict(users, items), raw.clamp(1.0, 5.0))
    assert not model.predict(users, items).requires_grad


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (-10.0, 10.0), (-3.5, -1.25), (0.0, 5.0)])
def test_a_sigmoid_scales_to_the_range(low: float, high: float) -> None:
    model = small(low=low, high=high)
    prediction, _ = scores(model)
    assert prediction == pytest.approx([low + (high - low) * sigmoid(dot) for dot in DOTS], rel=1e-5)
    assert prediction[0] == pytest.approx((low + high) / 2)


def test_fresh_biases_are_zero_and_vectors_are_not() -> None:
    settings = DotSettings(embedding_dim=16, biases=True, output="linear", low=1.0, high=5.0, std=0.1)
    torch.manual_seed(0)
    model = DotModel(Table("user", 500, 16, 0.1), Table("movie", 400, 16, 0.1), {}, settings, mean=3.25)
    assert model.biases is not None
    assert all(not parameter.any() for parameter in model.biases.parameters())
    assert model.mean.item() == 3.25
    assert model.embeddings is not None
    for parameter in model.embeddings.parameters():
        assert parameter.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("ids", [torch.int64, torch.int32])
@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 3], [0, 1], r"'user'.*3.*0 … 2"),
        ([0, -1], [0, 1], r"'user'.*-1"),
        ([0, 1], [0, 2], r"'movie'.*2.*0 … 1"),
    ],
)
@pytest.mark.parametrize("dim", [0, 2])
def test_an_id_out_of_range_is_named(
    users: list[int], items: list[int], message: str, dim: int, ids: torch.dtype
) -> None:
    model = small(embedding_dim=dim, biases=True)
    with pytest.raises(IndexError, match=message):
        model(torch.tensor(users, dtype=ids), torch.tensor(items, dtype=ids))
    with pytest.raises(IndexError, match=message):
        model.predict(torch.tensor(users, dtype=ids), torch.tensor(items, dtype=ids))


def test_ids_that_are_no_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="'user'"):
        small()(torch.tensor([0.0]), torch.tensor([0]))


EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, cls in sorted(registered().items())
    for number, example in enumerate(cls.examples(Table("user", 30, 4)))
]


def with_method(example: Method, **choices: Any) -> DotModel:
    settings = DotSettings(**({"embedding_dim": 4, "low": 1.0, "high": 5.0} | choices))
    torch.manual_seed(0)
    return DotModel(Table("user", 30, 4), Table("movie", 20, 4), {"user": example}, settings, mean=3.0)


@pytest.mark.parametrize("example", EXAMPLES)
def test_components_are_the_state(example: Method) -> None:
    for biases in (False, True):
        model = with_method(example, biases=biases)
        predicted = {component.key: component for component in model.components()}
        assert predicted == {component.key: component for component in ledger.components_of(model)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_int32_ids_read_the_same(example: Method) -> None:
    model = with_method(example)
    users, items = torch.arange(30), torch.arange(30) % 20
    assert torch.equal(model(users, items).prediction, model(users.int(), items.int()).prediction)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_gradients(example: Method, output: str) -> None:
    model = with_method(example, biases=True, output=output).double()
    names = [name for name, _ in model.named_parameters()]
    users, items = torch.tensor([0, 3, 3, 29, 17]), torch.tensor([1, 0, 19, 19, 7])

    def both(*values: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (users, items))
        return found.prediction, found.squares

    values = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(both, values, fast_mode=True)  # all entries at once, in a random direction


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"embedding_dim": -1}, "embedding_dim"),
        ({"embedding_dim": 0}, "biases"),
        ({"low": 5.0, "high": 5.0}, "low"),
        ({"low": 5.0, "high": 1.0}, "low"),
        ({"std": 0.0}, "std"),
        ({"std": float("nan")}, "std"),
    ],
)
def test_wrong_settings(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DotSettings(**choices)


def test_a_model_needs_its_range_and_methods_for_its_own_tables() -> None:
    user, movie = Table("user", 3, 2), Table("movie", 2, 2)
    with pytest.raises(InputError, match="low < high"):
        DotModel(user, movie, {}, DotSettings(embedding_dim=2))
    with pytest.raises(InputError, match=r"'item'.*'user'.*'movie'"):
        DotModel(user, movie, {"item": method("full")}, DotSettings(embedding_dim=2, low=0.0, high=1.0))
    with pytest.raises(InputError, match="distinct"):
        DotModel(user, Table("user", 2, 2), {}, DotSettings(embedding_dim=2, low=0.0, high=1.0))


KERAS = {
    "user": method("quotient_remainder", num_buckets=120, operation="mult", layout="keras"),
    "movie": method("mixed_dimension", block_sizes=(400, 1300, 2006), block_dims=(64, 32, 16), layout="keras"),
}
COMPACT = {
    "user": method("quotient_remainder", num_buckets=120),
    "movie": method("mixed_dimension", block_sizes=(400, 1300, 2006), block_dims=(64, 32, 16)),
}


@pytest.mark.parametrize(
    ("dim", "biases", "methods", "parameters"),
    [
        (0, True, {}, 9_747),
        (1, True, {}, 19_493),
        (64, False, {}, 623_744),
        (64, False, KERAS, 117_968),
        (64, False, COMPACT, 113_312),
    ],
)
def test_known_counts(dim: int, biases: bool, methods: dict[str, Method], parameters: int) -> None:
    settings = DotSettings(embedding_dim=dim, biases=biases, low=1.0, high=5.0)
    width = max(1, dim)
    model = DotModel(Table("user", 6040, width), Table("movie", 3706, width), methods, settings)
    assert ledger.parameters(model.components()) == parameters
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert ledger.inference_bytes(model.components()) == 4 * parameters


def test_the_parts_of_the_known_counts() -> None:
    user, movie = Table("user", 6040, 64), Table("movie", 3706, 64)
    assert (user.full_bytes // 4, movie.full_bytes // 4) == (386_560, 237_184)
    assert (KERAS["user"].bytes(user) // 4, KERAS["movie"].bytes(movie) // 4) == (15_360, 102_608)


def dots(*vectors: Tensor) -> Tensor:
    """The sum of the dot products of all pairs, one after the other, as in a factorization machine."""
    return torch.stack([(one * other).sum() for at, one in enumerate(vectors) for other in vectors[:at]]).sum()


@pytest.mark.parametrize("scheme", ["mixed_radix", "chinese_remainder"])
@pytest.mark.parametrize("both", [False, True])
def test_generated_features_meet_in_a_factorization_machine(scheme: str, both: bool) -> None:
    user, movie = Table("user", 30, 4, std=1.0), Table("movie", 20, 4, std=1.0)
    methods = {"user": method("feature_generation", moduli=(5, 3, 2), scheme=scheme)}
    if both:
        methods["movie"] = method("feature_generation", moduli=(4, 5), scheme=scheme)
    torch.manual_seed(0)
    model = DotModel(user, movie, methods, DotSettings(4, output="linear", low=1.0, high=5.0)).double()
    users, movies = torch.tensor([0, 7, 29, 29]), torch.tensor([19, 3, 0, 11])
    found = model(users, movies)
    assert model.embeddings is not None
    arrays = {name: list(model.embeddings.tables[name].parameters()) for name in ("user", "movie")}
    for at, (u, m) in enumerate(zip(users.tolist(), movies.tolist(), strict=True)):
        digits = {"mixed_radix": (u % 5, u // 5 % 3, u // 15), "chinese_remainder": (u % 5, u % 3, u % 2)}[scheme]
        vectors = [array[row] for array, row in zip(arrays["user"], digits, strict=True)]
        other = {"mixed_radix": (m % 4, m // 4), "chinese_remainder": (m % 4, m % 5)}[scheme] if both else (m,)
        vectors += [array[row] for array, row in zip(arrays["movie"], other, strict=True)]
        torch.testing.assert_close(found.prediction[at], dots(*vectors))
        torch.testing.assert_close(found.squared_norm[at], torch.stack(vectors).square().sum())


def test_a_factorization_machine_worked_by_hand() -> None:
    # User 2 of digits (0, 1) has the vectors (1, 2) and (3, -1), movie 0 has (10, 100).
    settings = DotSettings(2, output="linear", low=1.0, high=5.0)
    model = DotModel(
        Table("user", 4, 2), Table("movie", 1, 2), {"user": method("feature_generation", moduli=(2, 2))}, settings
    )
    assert model.embeddings is not None
    first, second, movie = model.embeddings.parameters()
    with torch.no_grad():
        first[0], second[1], movie[0] = (torch.tensor(row) for row in ([1.0, 2.0], [3.0, -1.0], [10.0, 100.0]))
    found = model(torch.tensor([2]), torch.tensor([0]))
    assert found.prediction.item() == pytest.approx((3 - 2) + (10 + 200) + (30 - 100))
    assert found.squared_norm.item() == pytest.approx(5 + 10 + 10_100)


def test_one_generated_feature_is_a_plain_dot_product() -> None:
    settings = DotSettings(embedding_dim=2, low=1.0, high=5.0)
    single = method("feature_generation", moduli=(3,))
    model, plain = DotModel(Table("user", 3, 2), Table("movie", 2, 2), {"user": single}, settings), small()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        ours.data.copy_(theirs)
    users, movies = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 0, 1, 0])
    for found, expected in zip(model(users, movies)[:2], plain(users, movies)[:2], strict=True):
        assert torch.equal(found, expected)
