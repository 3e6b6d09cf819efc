"""What errors in vectors cost: of a dot model what they are multiplied by, of any model what the loss says."""

from __future__ import annotations

from pathlib import Path

import torch

from coset.data.settings import DataSettings
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.tasks.importance import importance
from coset.tasks.ratings import RatingsTask


def test_it_is_the_mean_square_of_the_other_side(small_csv: Path) -> None:
    model = DotSettings(embedding_dim=3, biases=True, output="linear", std=0.5)
    task = RatingsTask(DataSettings(str(small_csv)), model=model, training=TrainingSettings(l2=5.0))
    encoded = task.encoded(task.load(small_csv.parent), 0)
    torch.manual_seed(0)
    made = task.build({}, encoded)
    users, items = (made.embeddings.tables[table.name] for table in (made.user, made.item))
    with torch.no_grad():
        items.rows.weight.mul_(torch.tensor([4.0, 1.0, 0.0]))
    before = {name: value.clone() for name, value in made.state_dict().items() if value.is_floating_point()}
    found = importance(task, made, encoded, {"user": users, "user_bias": made.biases.tables[made.user.name]})
    assert found["user"][0] > 4 * found["user"][1] > 0
    assert found["user"][2] == 0
    assert found["user_bias"].shape == (1,)
    # Nothing of the model changed, and lookups are its own again.
    assert all(torch.equal(made.state_dict()[name], value) for name, value in before.items())
    assert "lookup" not in vars(users)
    assert all(value.grad is None for value in made.parameters())
    # Penalties cost nothing.
    again = importance(task.having("training", TrainingSettings()), made, encoded, {"user": users})
    assert torch.equal(again["user"], found["user"])
