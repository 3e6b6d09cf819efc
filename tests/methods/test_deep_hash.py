from math import exp, log1p, sqrt, tanh

import pytest
import torch

from coset.errors import InputError
from coset.methods import DeepHash
from coset.partitions import MAX_SEED, hash_words
from coset.schema import Table


def mish(value):
    return value * tanh(log1p(exp(value)))


def words(i, seed, k):
    """k universal hashes of an id, a_j x + b_j y modulo 2^32, of two words that are hashed of it."""
    x, y = hash_words(i, seed) >> 1, hash_words(i, seed + 1) >> 1
    return [((hash_words(j, seed) >> 1 | 1) * x + (hash_words(j, seed + 1) >> 1 | 1) * y) % 2**32 for j in range(k)]


def test_words_are_uniform_and_independent():
    found = torch.tensor([words(i, 3, 6) for i in range(4000)], dtype=torch.float64) / 2**31 - 1
    assert found.mean(0).abs().max() < 5 * 3**-0.5 / 4000**0.5
    assert (found.std(0) - 3**-0.5).abs().max() < 0.02
    off = torch.corrcoef(found.t()) - torch.eye(6)
    assert off.abs().max() < 5 / 4000**0.5
    next_to_each_other = torch.corrcoef(torch.stack([found[1:, 0], found[:-1, 0]]))[0, 1]
    assert abs(next_to_each_other) < 5 / 4000**0.5


@pytest.mark.parametrize(("layers", "seed"), [(1, 0), (2, 7), (3, 7), (2, MAX_SEED - 1)])
@pytest.mark.parametrize("i", [0, 5, 2**40 + 3])
def test_vectors_are_worked_by_hand(layers, seed, i):
    torch.manual_seed(2)
    table = Table("item", 2**41, 2, std=1.0, dtype=torch.float64)
    module = DeepHash(3, 4, layers, seed).build(table)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    state = module.state_dict()
    values = [(word / 2**31 - 1) * sqrt(3) for word in words(i, seed, 4)]
    for number in range(layers + 1):
        weight, bias = state[f"layers.{number}.weight"].tolist(), state[f"biases.{number}.weight"][0].tolist()
        values = [mish(value) for value in values] if number else values
        values = [
            sum(value * row[at] for value, row in zip(values, weight, strict=True)) + b for at, b in enumerate(bias)
        ]
    assert module.lookup(torch.tensor(i)).tolist() == pytest.approx(values, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("hidden", "k", "layers", "dim"), [(32, 64, 2, 16), (8, 1024, 1, 64), (5, 3, 4, 7)])
def test_bytes_are_those_of_the_layers_whatever_the_ids(hidden, k, layers, dim):
    elements = k * hidden + (layers - 1) * hidden**2 + hidden * dim + layers * hidden + dim
    for n in (1, 6040, 2**40):
        assert DeepHash(hidden, k, layers).bytes(Table("user", n, dim)) == elements * 4
    shapes = [c.shape for c in DeepHash(hidden, k, layers).components(Table("user", 10, dim)) if c.rows > 1]
    assert shapes == [(k, hidden), *[(hidden, hidden)] * (layers - 1), (hidden, dim)]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("std", [0.01, 1.0])
def test_the_last_layer_is_scaled_to_the_deviation_of_the_table(layers, std):
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        module = DeepHash(256, 256, layers).build(Table("item", 100_000, 32, std=std))
        found.append(module.lookup(torch.arange(500)).detach().square().mean())
    assert torch.stack(found).mean().sqrt().item() == pytest.approx(std, rel=0.1)


def test_vectors_are_unique():
    torch.manual_seed(0)
    assert len(DeepHash(8, 16).build(Table("item", 5000, 4)).materialize().unique(dim=0)) == 5000


def test_the_vector_of_an_id_does_not_depend_on_the_batch():
    module = DeepHash(8, 16).build(Table("item", 5000, 4, dtype=torch.float64))
    whole = module.materialize()
    torch.testing.assert_close(module.lookup(torch.tensor([4999, 17])), whole[[4999, 17]])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden": 0}, "hidden must be at least 1, not 0"),
        ({"num_hashes": -1}, "num_hashes must be at least 1, not -1"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": MAX_SEED}, "seed must be at most"),
        ({"hidden": "wide"}, "hidden"),
    ],
)
def test_wrong_choices_are_refused(fields, said):
    with pytest.raises(InputError, match=f"'deep_hash': {said}"):
        DeepHash(**{"hidden": 4} | fields)
