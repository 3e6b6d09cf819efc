"""What is said of histories: overfitted, trained too short, behind what needs no training."""

from __future__ import annotations

from typing import Any

import pytest

from coset.report.remarks import remarks
from coset.tasks import measures
from coset.tasks.metric import Metric
from coset.tasks.ratings import RatingsTask

SAID = measures(RatingsTask)


def row(name: str, validation: list[float], training: list[float] | None = None, group: str = "full") -> dict[str, Any]:
    training = training or [1.0 - 0.01 * at for at in range(len(validation))]
    history = [
        {"epoch": at + 1, "val_mse": of, "train_mse": by}
        for at, (of, by) in enumerate(zip(validation, training, strict=True))
    ]
    metrics = {"val_mse": {"mean": validation[-1]}}
    return {"name": name, "group": group, "history": [] if group == "baseline" else [history], "metrics": metrics}


def of(*rows: dict[str, Any], **said: Any) -> list[str]:
    return remarks({"measures": {**SAID, **said}, "rows": list(rows)})


GOOD = [1.0, 0.9, 0.85, 0.83, 0.825, 0.8245, 0.8242, 0.8241, 0.8241, 0.8241]
OVER = [1.0, 0.9, 0.85, 0.83, 0.825, 0.83, 0.84, 0.85, 0.86, 0.861]
SHORT = [1.0, 0.95, 0.92, 0.90, 0.88, 0.86, 0.84, 0.82, 0.80, 0.78]


def test_a_good_training_needs_no_word() -> None:
    assert of(row("full", GOOD)) == []
    assert of(row("one epoch", [0.9])) == []


def test_each_fault_is_named_once_with_all_its_rows() -> None:
    over, short = of(row("full", OVER), row("good", GOOD), row("narrow", SHORT), row("hashing", OVER))
    assert over.startswith("Overfitted: full and hashing. Validation MSE was best before the last epochs")
    assert short.startswith("Trained too short: narrow. Validation MSE still got better in the last epochs")


def test_worse_validation_alone_is_not_overfitting() -> None:
    rising = [0.5 + 0.01 * at for at in range(len(OVER))]
    assert of(row("full", OVER, rising)) == []


def test_behind_a_baseline() -> None:
    plain = row("ridge bias", [0.82], group="baseline"), row("constant", [1.2], group="baseline")
    (said,) = of(*plain, row("full", GOOD), row("hashing", [value + 0.1 for value in GOOD]))
    assert said == "Behind ridge bias, which needs no training: every row."
    (said,) = of(*plain, row("full", [value - 0.02 for value in GOOD]), row("hashing", GOOD))
    assert said == "Behind ridge bias, which needs no training: hashing."
    assert of(*plain, row("full", [value - 0.0035 for value in GOOD])) == []


def test_vectors_that_learned_nothing() -> None:
    bias = row("bias only", GOOD, group="bias")
    better = [value - 0.05 for value in GOOD]
    (said,) = of(bias, row("full", better), row("hashing", GOOD, group="compressed"))
    assert said == "No vectors learned: hashing. It ends where biases alone do."
    assert of(bias, row("full", GOOD), row("hashing", GOOD, group="compressed")) == []  # then biases are enough
    assert of(row("full", better), row("hashing", GOOD, group="compressed")) == []


def test_seeds_are_averaged() -> None:
    noisy = row("full", GOOD)
    noisy["history"] = [
        row("a", OVER)["history"][0],
        row("b", [2 * good - over for good, over in zip(GOOD, OVER, strict=True)])["history"][0],
    ]
    assert of(noisy) == []


@pytest.mark.parametrize(("values", "kind"), [(GOOD, None), (OVER, "Overfitted"), (SHORT, "Trained too short")])
def test_a_score_that_is_better_when_higher(values: list[float], kind: str | None) -> None:
    higher = Metric("auc", better="higher")
    turned = row("full", [-value for value in values], [-1.0 + 0.01 * at for at in range(len(values))])
    said = of(turned, better=higher.better)
    assert [sentence.partition(":")[0] for sentence in said] == ([] if kind is None else [kind])
