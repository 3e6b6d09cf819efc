import pytest
import torch

from coset.errors import InputError
from coset.methods import PathBased
from coset.schema import Table

DOUBLE = torch.float64


def leaky(values):
    return torch.where(values > 0, values, 0.1 * values)


def test_id_7_of_8_worked_by_hand():
    # Moduli 4 and 2: row 7 % 4 = 3, function 7 // 4 = 1: W₂ f(W₁ x + b₁) + b₂ with x = 2, f leaky with slope 0.1.
    module = PathBased((4, 2), hidden=2).build(Table("item", 8, 1, dtype=DOUBLE))
    state = {key: torch.zeros_like(value) for key, value in module.state_dict().items()}
    state["rows.weight"][3] = 2.0
    state["steps.0.inward.weight"][1] = torch.tensor([3.0, -5.0])
    state["steps.0.inward_bias.weight"][1] = torch.tensor([1.0, -2.0])  # so 7 and -12, after f 7 and -1.2
    state["steps.0.outward.weight"][1] = torch.tensor([0.5, 10.0])  # 3.5 - 12
    state["steps.0.outward_bias.weight"][1] = 0.25
    module.load_state_dict(state)
    assert module.lookup(torch.tensor(7)).tolist() == pytest.approx([3.5 - 12 + 0.25])
    assert module.lookup(torch.tensor(3)).tolist() == [0.0]  # the same row, function 0


@pytest.mark.parametrize(("n", "moduli", "hidden"), [(60, (5, 4, 3), 3), (24, (24,), 2), (50, (20, 3), 1)])
def test_every_id_takes_its_own_path(n, moduli, hidden):
    dim = 4
    torch.manual_seed(1)
    module = PathBased(moduli, hidden).build(Table("item", n, dim, std=1.0, dtype=DOUBLE))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    state, expected = module.state_dict(), []
    for i in range(n):
        vector, left = state["rows.weight"][i % moduli[0]], i // moduli[0]
        for at, modulus in enumerate(moduli[1:]):
            bucket, left = left % modulus, left // modulus
            inward, outward, first, second = (
                state[f"steps.{at}.{what}.weight"][bucket]
                for what in ("inward", "outward", "inward_bias", "outward_bias")
            )
            inside = leaky(inward.view(hidden, dim) @ vector + first)
            vector = outward.view(dim, hidden) @ inside + second
        expected.append(vector)
    torch.testing.assert_close(module.materialize(), torch.stack(expected))
    assert len(module.materialize().unique(dim=0)) == n


@pytest.mark.parametrize("hidden", [1, 16, 64])
@pytest.mark.parametrize(
    ("moduli", "reached"), [((1510, 4), (1510, 4)), ((1510, 9), (1510, 4)), ((100, 8, 8), (100, 8, 8))]
)
def test_bytes_are_those_of_the_paper(moduli, reached, hidden):
    table, dim = Table("user", 6040, 16), 16
    first, *others = reached
    elements = first * dim + sum(m * (2 * dim * hidden + hidden + dim) for m in others)
    assert PathBased(moduli, hidden).bytes(table) == elements * 4
    assert sum(parameter.numel() for parameter in PathBased(moduli, hidden).build(table).parameters()) == elements


def test_only_the_functions_on_the_way_get_a_gradient():
    module = PathBased((4, 3, 2), 2).build(Table("item", 24, 3))
    module.lookup(torch.tensor([7])).sum().backward()  # 7 = 3 + 4 · 1 + 12 · 0
    for name, parameter in module.named_parameters():
        touched = parameter.grad.flatten(1).any(dim=1).nonzero().view(-1).tolist()
        row = 3 if name.startswith("rows") else {"0": 1, "1": 0}[name.split(".")[1]]
        assert touched == [row], name


@pytest.mark.parametrize("hidden", [0, -4])
def test_a_layer_of_nothing_is_refused(hidden):
    with pytest.raises(InputError, match=f"'path_based': hidden must be at least 1, not {hidden}"):
        PathBased((4, 3), hidden)


def test_sizes_within_a_budget_fit():
    table = Table("user", 6040, 16)
    for budget in (100_000, 200_000):
        method = PathBased.for_budget(table, budget, hidden=4)
        method.check(table)
        assert 0.8 * budget < method.bytes(table) <= budget
        assert method.hidden == 4
