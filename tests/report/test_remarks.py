"""What is said of histories: overfitted, trained too short, behind what needs no training."""

from __future__ import annotations

from typing import Any

import pytest

from coset.report.remarks import remarks, remarks_of_run
from coset.tasks import measures
from coset.tasks.clicks import ClicksTask
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


def test_of_biases_that_suffice_nothing_is_said_twice() -> None:
    rows = row("ridge bias", [0.8], group="baseline"), row("full", OVER), row("narrow", SHORT)
    kinds = [sentence.partition(":")[0] for sentence in of(*rows)]
    assert kinds == ["Overfitted", "Trained too short", "Behind ridge bias, which needs no training"]
    (said,) = remarks({"measures": SAID, "rows": list(rows)}, without=True)
    assert said.startswith("Trained too short: narrow.")


def test_errors_near_0_are_no_faults() -> None:
    tiny = [1e-3 * (value - GOOD[-1]) ** 2 for value in GOOD]
    noisy = [1.0, 1e-4, 3e-8, 2e-8, 1e-8, 3e-8, 5e-8, 4e-8, 6e-8, 9e-8]
    plain = row("ridge bias", [1e-9], group="baseline"), row("constant", [1.2], group="baseline")
    assert of(*plain, row("full", noisy), row("narrow", tiny)) == []
    assert of(row("full", noisy)) == []


def test_hardly_any_updates() -> None:
    few, more, many = row("full", SHORT), row("narrow", GOOD), row("hashing", GOOD)
    for of_row, steps in ((few, 56), (more, 99), (many, 100)):
        of_row["history"][0][-1]["step"] = steps
    (said,) = of(few, more, many)  # of `more` validation does not get better any more
    assert said.startswith("Trained too short: full, by 56 updates in all")
    more = row("narrow", SHORT)
    more["history"][0][-1]["step"] = 99
    (said,) = of(few, more, many)
    assert said == (
        "Trained too short: full and narrow, by 56 to 99 updates in all; train for more epochs (--epochs), or in "
        "smaller batches (training.batch_size)."
    )
    assert of(few, row("a", [0.9], group="baseline"))[0].startswith("Trained too short: full, by 56 updates in all")


def test_a_row_that_overfits_is_not_told_to_train_for_longer() -> None:
    over = row("full", OVER)
    over["history"][0][-1]["step"] = 70
    (said,) = of(over)
    assert said.startswith("Overfitted: full.")


def test_the_settings_that_shrink_are_named() -> None:
    assert "(training.ridge, training.l2)" in of(row("full", OVER))[0]
    assert "shrink" not in of(row("full", OVER), shrinkage="")[0]


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


def clicks(name: str, losses: list[float], entropy: float | None, calibration: float | None) -> dict[str, Any]:
    history = [
        {"epoch": at + 1, "val_logloss": of, "train_logloss": 0.5 - 0.1 * at,
         "val_normalised_entropy": entropy, "val_calibration": calibration}
        for at, of in enumerate(losses)
    ]  # fmt: skip
    metrics = {key: {"mean": value} for key, value in history[-1].items() if key.startswith("val_")}
    return {"name": name, "group": "full", "history": [history], "metrics": metrics}


def test_predictions_that_are_worth_nothing() -> None:
    rows = [clicks("full", [0.45, 0.58, 0.82], 1.6027, 1.27), clicks("hashing", [0.45], 0.88, 1.02)]
    over, calibration, entropy = remarks({"measures": measures(ClicksTask), "rows": rows})
    assert over.startswith("Overfitted: full.")
    assert calibration == (
        "Wrong by more than a tenth in how many clicks there are (validation calibration): full (1.27)."
    )
    assert entropy == (
        "Worse than one probability for all rows, the share of clicks (validation normalised entropy): full (1.603)."
    )
    unknown = [clicks("full", [0.45], None, None)]
    assert remarks({"measures": measures(ClicksTask), "rows": unknown}) == []


def test_where_the_best_model_is_kept_it_is_not_overfitted() -> None:
    row = clicks("full", [0.45, 0.58, 0.82], 0.88, 1.0)
    assert remarks({"measures": measures(ClicksTask), "rows": [{**row, "training": {"patience": 2}}]}) == []
    run = {"name": "full", "measures": measures(ClicksTask), "history": row["history"][0], "reported": 0}
    assert remarks_of_run(run) == []
    (said,) = remarks_of_run({**run, "reported": 2})
    assert said.startswith("Overfitted: full.")


def test_a_baseline_that_is_fitted_says_so() -> None:
    linear = {**row("linear", [0.82], group="baseline"), "seconds_per_epoch": 3.0}
    assert of(linear, row("full", GOOD)) == ["Behind linear, which is fitted in seconds: full."]
