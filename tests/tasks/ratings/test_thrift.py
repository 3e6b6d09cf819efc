"""Biases that rare ids share: what is saved, what is lost, and that models train with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coset.data.settings import DataSettings
from coset.errors import InputError
from coset.models.dot import DotSettings
from coset.planning.proxy import Proxy
from coset.planning.signal import Signal
from coset.tasks.ratings import RatingsTask
from coset.tasks.ratings.thrift import LIMITS, leaner, sharing_losses
from coset.tasks.settings import TrainingSettings
from coset.training.run import Options, execute
from coset.training.spec import RunSpec
from coset.training.trainer import EngineOption

SIGNAL = Signal(Proxy(), 0.0, 1.0, 0.0, 0.0, 0.0, 100)
COUNTS = np.array([40, 20, 8, 2, 1, 1, 0, 0]), np.array([50, 21, 1])


def test_ids_without_training_rows_lose_nothing_by_sharing() -> None:
    (first, *_) = [one for one in leaner(COUNTS, None) if one.model["bias_ids"][0] == 6]
    assert first.model == {"bias_ids": [6, 3]}
    assert first.loss == 0
    assert first.why == "2 users with the fewest ratings share one bias"


def test_measured_losses_are_summed_over_sides() -> None:
    sharing = tuple(tuple((limit, side + limit / 100, 0.0) for limit in LIMITS) for side in (0.0, 1.0))
    found = {tuple(one.model["bias_ids"]): one for one in leaner(COUNTS, replace(SIGNAL, sharing=sharing))}
    assert found[4, 3].loss == pytest.approx(0.02)
    assert found[4, 1].loss == pytest.approx(0.02 + 1.33)
    assert (
        found[4, 1].why
        == "4 users with the fewest ratings share one bias and 2 items with the fewest ratings share one bias"
    )
    assert (8, 3) not in found


def test_a_loss_counts_as_worse_by_its_error_and_none_as_a_gain() -> None:
    sharing = tuple(tuple((limit, loss, 0.03) for limit in LIMITS) for loss in (-0.5, 0.01))
    found = {tuple(one.model["bias_ids"]): one for one in leaner(COUNTS, replace(SIGNAL, sharing=sharing))}
    assert (found[4, 3].loss, found[4, 3].error) == (0.0, 0.03)
    assert found[8, 1].loss == pytest.approx(0.04)
    assert found[4, 1].error == pytest.approx(0.03 * 2**0.5)


def test_sharing_loses_what_biases_told() -> None:
    draw = np.random.default_rng(0)
    ids = np.concatenate([np.arange(100), np.repeat(np.arange(100, 110), 40)])
    ids = np.concatenate([ids, ids])
    bias = draw.normal(size=110)
    left = np.zeros(len(ids))
    known = len(ids) // 2
    errors = np.zeros(known)
    told = sharing_losses(ids, left, bias, 1.0, known, errors)
    losses = {limit: loss for limit, loss, _ in told}
    assert all(0 <= error < 1 for _, _, error in told)
    assert losses[1] == 0
    shared = bias[:100].sum() / 101
    assert losses[2] == pytest.approx(np.square(bias[:100] - shared).sum() / known)
    assert losses[65] > losses[2]


def test_a_model_trains_with_shared_biases_and_is_read_back(small_csv: Path, tmp_path: Path) -> None:
    model = DotSettings(embedding_dim=2, biases=True, output="linear", bias_ids=(50, 30))
    training = TrainingSettings(epochs=2, batch_size=128, bias_ridge=(4.0, 2.0), ridge=8.0)
    task = RatingsTask(DataSettings(str(small_csv)), model=model, training=training)
    data = task.load(tmp_path)
    encoded = task.encoded(data, 0)
    assert sum(of.bytes for of in task.components({}, encoded)) == 4 * (100 * 2 + 51 + 31 + 1)
    begun = task.build({}, encoded)
    assert begun.biases is not None
    rare = begun.biases.tables["user"](torch.arange(50, 60))
    assert (rare == rare[0]).all()
    assert rare[0] != 0
    counts, rare_ids = begun.counts[0], slice(50, 60)
    assert begun.rarity[0, rare_ids].tolist() == pytest.approx((1 / counts[rare_ids]).tolist())
    assert begun.bias_rarity[0, rare_ids].tolist() == pytest.approx([1 / float(counts[rare_ids].sum())] * 10)
    assert torch.equal(begun.bias_rarity[0, :50], begun.rarity[0, :50])
    scores = {}
    engines: tuple[EngineOption, ...] = ("plain", "fused")
    for engine in engines:
        folder = tmp_path / engine
        found = execute(RunSpec(task, {}, 0), folder, data, Options(engine=engine), encoded=encoded)
        scores[engine] = found["history"][-1]["val_mse"]
    assert scores["plain"] == pytest.approx(scores["fused"], abs=1e-5)


def test_bias_ids_are_two_numbers_and_need_biases() -> None:
    with pytest.raises(InputError, match="a number of users and one of items"):
        DotSettings(biases=True, bias_ids=(3,))
    with pytest.raises(InputError, match="biases are false"):
        DotSettings(bias_ids=(3, 4))
