"""The report: what stands in the cells, which notes stand below, and which rows a budget picks."""

from __future__ import annotations

import io
from statistics import fmean, stdev
from typing import Any

import pytest
from rich.console import Console

from coset.experiments.spread import half_interval
from coset.report import comparison as report
from coset.tasks import measures
from coset.tasks.ratings import RatingsTask

MEASURES = measures(RatingsTask)


def row(name: str, group: str, size: int, values: list[float | None], **other: Any) -> dict[str, Any]:
    """A row of results; `values` are its validation MSE, one a seed from 0 on."""
    known = [value for value in values if value is not None]
    mse = {
        "mean": fmean(known) if known else None,
        "std": stdev(known) if len(known) > 1 else None,
        "interval": half_interval(stdev(known), len(known)) if len(known) > 1 else None,
        "values": values,
    }
    return {
        "name": name,
        "note": None,
        "group": group,
        "embedding_dim": 64,
        "methods": {},
        "parameters": size // 4,
        "bytes": size,
        "ratio": 2_494_976 / size,
        "seeds": list(range(len(values))),
        "engine": "plain",
        "metrics": {"val_mse": mse, "val_mae": {"mean": 0.6808, "std": 0.001, "values": [0.6808]}},
        "epochs": 3,
        "seconds_per_epoch": 8.53,
        "history": [],
    } | other


def results(*rows: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "recipe": "keras-example",
        "measures": MEASURES,
        "title": "Keras example",
        "dataset": "movielens-1m",
        "synthetic": False,
        "noise_floor": None,
        "split": {"kind": "random", "validation": 0.15},
        "protocol": {"optimizer": "adam", "betas": [0.9, 0.999], "eps": None},
        "host": {"cores": 2},
        "versions": {"torch": "2.13.0"},
        "vocabulary_bytes": 39_000,
        "budgets": [],
        "contrasts": [],
        "notes": ["Tuned on a slice\nof the training part."],
        "rows": list(rows),
    } | other


ROWS = (
    row("full", "full", 2_494_976, [0.744, 0.746, 0.745]),
    row("narrow d=4", "narrow", 195_000, [0.750, 0.752, 0.751]),
    row("narrow d=8", "narrow", 351_000, [0.733, 0.735, 0.737]),
    row("bias only", "bias", 39_000, [0.823, 0.824, 0.825], note="mean + user + movie"),
    row("int4 d=8", "compressed", 44_000, [0.740, 0.739, 0.744], note="trained quantised"),
    row("qr mult", "compressed", 471_872, [0.8806, 0.8700, 0.8900], note="trained quantised"),
)


def drawn(given: dict[str, Any], width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(report.table(given))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip(" |").startswith(name)).split()


@pytest.mark.parametrize("width", [80, 120])
def test_table_cells(width: int) -> None:
    text = drawn(results(*ROWS), width)
    assert " ".join(cells(text, "full")) == "full 623,744 2.49MB 1.0× 0.7450 ± 0.0025 0.6808 8.53"
    assert " ".join(cells(text, "name")) == "name parameters bytes ratio val MSE ± 95 % MAE s/epoch"
    assert cells(text, "int4")[-3:] == ["0.0066", "0.6808", "8.53"]
    assert "…" not in text


def test_table_is_one_row_a_result_in_the_given_order() -> None:
    shown = report.table(results(*ROWS))
    assert shown.row_count == len(ROWS)
    names = [str(cell).split(" (")[0] for cell in shown.columns[0].cells]
    assert names == [entry["name"] for entry in ROWS]


def test_notes_are_numbered_once_and_stand_one_a_line() -> None:
    lines = [line.strip() for line in drawn(results(*ROWS), 120).splitlines()]
    assert lines[lines.index("(1) mean + user + movie") + 1] == "(2) trained quantised"
    assert lines.count("(2) trained quantised") == 1
    text = "\n".join(lines)
    assert "bias only (1)" in text
    assert "int4 d=8 (2)" in text
    assert "qr mult (2)" in text
    assert "Tuned on a slice of the training part." in lines
    assert "mean ± half its 95 % interval (Student's t) over seeds 0, 1, 2; 3 epochs." in " ".join(text.split())
    assert "the vocabulary, 39KB, is extra" in text


def test_long_names_go_on_in_the_next_line_and_numbers_stay_whole() -> None:
    name = "mixed_dimension over quotient_remainder with private hot rows"
    text = drawn(results(row(name, "compressed", 40_000_000_000, [0.7, 0.8])), 80)
    assert "10,000,000,000" in text
    assert "0.7500 ± 0.6353" in text
    column = "".join("".join(line[:14].split()) for line in text.splitlines())
    assert "".join(name.split()) in column


def test_one_seed_has_no_spread() -> None:
    text = drawn(results(row("full", "full", 1000, [0.75]), row("qr", "compressed", 500, [0.8])), 80)
    assert "±" not in text
    assert "Measured on the validation part, seed 0; 3 epochs." in text


def test_what_is_not_known_is_a_dash() -> None:
    diverged = row("bad", "compressed", 500, [None], ratio=None, seconds_per_epoch=None)
    diverged["metrics"].pop("val_mae")
    assert cells(drawn(results(diverged), 80), "bad") == ["bad", "125", "500B", "–", "–", "–", "–"]


def test_seconds_for_a_million_rows_and_memory_are_told_where_they_are_asked_for() -> None:
    given = results(
        row("full", "full", 1000, [0.75], seconds_per_epoch=3.0, peak_resident_bytes=2_500_000_000),
        row("qr", "compressed", 500, [0.8], seconds_per_epoch=40.0),
        measures={**MEASURES, "costs": True},
        split={"training_rows": 2_000_000},
    )
    lines = drawn(given, 80)
    assert cells(lines, "name") == ["name", "bytes", "ratio", "val", "MSE", "MAE", "rows", "peak"]
    assert cells(lines, "full")[-2:] == ["1.50", "2.5GB"]
    assert cells(lines, "qr")[-2:] == ["20.0", "–"]
    assert "| s/M rows | peak |" in report.markdown(given)


def test_intervals_are_told_of_rows_and_of_differences_alike() -> None:
    mine, other = (row(name, "compressed", 500, values) for name, values in (("a", [0.7, 0.71]), ("b", [0.74, 0.76])))
    (told,) = report.contrasts(results(mine, other), [("a", "b")])
    # Half an interval of 12.706 · 0.0071 / √2 and of twice as much; the differences are -0.04 and -0.05.
    assert told == "a, 0.7050 ± 0.0635, against b, 0.7500 ± 0.1271: difference −0.0450 ± 0.0635 (2 seeds)."


def test_a_score_that_is_better_when_higher() -> None:
    rows = [
        row("full", "full", 1000, [0.80]), row("narrow", "narrow", 400, [0.70]), row("a", "compressed", 400, [0.74]),
        row("b", "compressed", 400, [0.76]), row("bad", "compressed", 400, [None]),
    ]  # fmt: skip
    given = results(*rows, measures={**MEASURES, "better": "higher"}, noise_floor=0.9)
    (contest,) = report.contests(given, [500])
    assert contest.compressed is rows[3]
    assert contest.difference == pytest.approx(0.06)
    assert "above 0, compressing wins" in report.best_compressed(given, [500])
    assert "above 0.9000" in report.markdown(given)


def test_what_was_measured_on_another_part_is_said() -> None:
    given = results(*ROWS, protocol={"reported": "a slice of the training part"})
    assert (
        "Measured on a slice of the training part, mean ± half its 95 % interval (Student's t) over"
        in report.markdown(given)
    )


def test_title_names_the_data_once() -> None:
    assert report.title(results()) == "Keras example · movielens-1m"
    assert report.title(results(title="All of movielens-1m", synthetic=True)) == "SYNTHETIC DATA · All of movielens-1m"


def test_names_are_not_markup() -> None:
    assert "[bold]x[/bold] [1]" in drawn(results(row("[bold]x[/bold] [1]", "full", 1000, [0.7])), 80)


def test_synthetic_is_said_with_the_noise_floor() -> None:
    given = results(*ROWS, synthetic=True, noise_floor=0.705)
    for text in (drawn(given, 80), report.markdown(given)):
        assert "SYNTHETIC DATA" in text
        assert "below 0.7050" in text
    assert "SYNTHETIC" not in drawn(results(*ROWS), 80) + report.markdown(results(*ROWS))


def test_markdown() -> None:
    lines = report.markdown(results(*ROWS)).splitlines()
    assert lines[0] == "| name | parameters | bytes | ratio | val MSE ± 95 % | MAE | s/epoch |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| full | 623,744 | 2.49MB | 1.0× | 0.7450 ± 0.0025 | 0.6808 | 8.53 |"
    assert "- (1) mean + user + movie" in lines
    assert lines[-1] == (
        "Dataset movielens-1m; split: kind random, validation 0.15; protocol: optimizer adam, betas 0.9/0.999; "
        "seeds 0, 1, 2; 3 epochs; host: cores 2; versions: torch 2.13.0."
    )


def test_markdown_keeps_a_name_in_its_cell() -> None:
    line = report.markdown(results(row("a|b * <c>", "full", 1000, [0.7]))).splitlines()[2]
    assert line.startswith("| a\\|b \\* &lt;c> | 250 |")


def test_epochs_that_differ_are_a_range() -> None:
    assert report.epochs(results(row("a", "full", 1, [1.0], epochs=15), *ROWS)) == "3–15 epochs"
    assert report.epochs(results(row("a", "full", 1, [1.0], epochs=1))) == "1 epoch"
    assert report.epochs(results()) == "no epochs"


def test_contest_pairs_the_seeds() -> None:
    (contest,) = report.contests(results(*ROWS), [470_000])
    assert contest.compressed is ROWS[4]  # qr mult is above the budget
    assert contest.plain is ROWS[2]
    assert contest.seeds == (0, 1, 2)
    differences = [0.740 - 0.733, 0.739 - 0.735, 0.744 - 0.737]
    assert contest.difference == pytest.approx(fmean(differences))
    assert contest.spread == pytest.approx(half_interval(stdev(differences), 3))


def test_contest_uses_common_seeds_only() -> None:
    mine = row("qr", "compressed", 100, [0.5, 0.6, 0.7], seeds=[7, 2, 1])
    other = row("narrow", "narrow", 100, [0.9, 0.8, 0.1], seeds=[1, 2, 3])
    (contest,) = report.contests(results(mine, other), [100])
    assert contest.seeds == (1, 2)
    assert contest.difference == pytest.approx(-0.2)
    assert contest.spread == pytest.approx(0.0, abs=1e-12)
    (alone,) = report.contests(results(mine, row("narrow", "narrow", 100, [0.1], seeds=[7])), [100])
    assert (alone.difference, alone.spread) == (pytest.approx(0.4), None)
    (none,) = report.contests(results(mine, row("narrow", "narrow", 100, [0.1], seeds=[9])), [100])
    assert (none.difference, none.seeds) == (None, ())


def test_contrasts_tell_pairs_of_rows_and_leave_out_what_is_not_there() -> None:
    pairs = [("narrow d=8", "narrow d=4"), ("full", "nobody")]
    (told,) = report.contrasts(results(*ROWS), pairs)
    assert told == (
        "narrow d=8, 0.7350 ± 0.0050, against narrow d=4, 0.7510 ± 0.0025: difference −0.0160 ± 0.0043 (3 seeds)."
    )


def test_contest_budget_is_a_limit_that_may_be_met() -> None:
    compressed = [contest.compressed for contest in report.contests(results(*ROWS), [44_000, 43_999])]
    assert compressed == [ROWS[4], None]


def test_best_compressed_in_words() -> None:
    lines = report.best_compressed(results(*ROWS), [470_000, 100_000, 40_000, 1_000]).splitlines()
    assert lines[2] == (
        "| 470KB | int4 d=8 | 44KB | 0.7410 ± 0.0066 | narrow d=8 | 351KB | 0.7350 ± 0.0050 "
        "| +0.0060 ± 0.0043 (3 seeds) |"
    )
    assert lines[3].startswith("| 100KB | int4 d=8 | 44KB | 0.7410 ± 0.0066 | bias only | 39KB |")
    assert lines[3].endswith("| −0.0830 ± 0.0050 (3 seeds) |")
    assert lines[4] == "| 40KB | none fits | – | – | bias only | 39KB | 0.8240 ± 0.0025 | – |"
    assert lines[5] == "| 1KB | none fits | – | – | none fits | – | – | – |"


def test_a_row_that_diverged_is_never_the_best() -> None:
    (contest,) = report.contests(results(row("bad", "compressed", 1, [None]), *ROWS), [470_000])
    assert contest.compressed is ROWS[4]


def test_a_row_that_compresses_nothing_wins_nothing_and_full_competes_where_it_fits() -> None:
    found = results(
        row("full", "full", 44_000, [0.70, 0.71]),
        row("narrow", "narrow", 20_000, [0.80, 0.81]),
        row("hashing 470KB", "compressed", 44_000, [0.69, 0.70]),
        row("hashing 30KB", "compressed", 30_000, [0.75, 0.76]),
    )
    contest, small = report.contests(found, [470_000, 30_000])
    assert contest.compressed is not None
    assert contest.plain is not None
    assert (contest.compressed["name"], contest.plain["name"]) == ("hashing 30KB", "full")
    assert small.plain is not None
    assert small.plain["name"] == "narrow"


# -- biases alone ------------------------------------------------------------------------------------------------------


LONG = [[{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]]


def test_biases_that_nothing_beats_are_told() -> None:
    ridge = row("ridge bias", "baseline", 50_000, [0.8230, 0.8240, 0.8250])
    worse = row("hashing", "compressed", 60_000, [0.8240, 0.8250, 0.8260], history=LONG)
    (said,) = report.enough(results(ridge, worse, row("full", "full", 90_000, [0.83, 0.831, 0.832])))
    assert said == (
        "On these data ridge bias (50KB, 0.8240 ± 0.0025) is better than every table, of which the best is hashing "
        "(60KB, 0.8250 ± 0.0025): difference +0.0010 ± 0.0000 (3 seeds); take ridge bias."
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [([0.800, 0.801, 0.803], False), ([0.8229, 0.8241, 0.8249], True), ([0.8229], True), ([0.8210], False)],
)
def test_a_gain_within_the_noise_is_none(values: list[float | None], told: bool) -> None:
    ridge = row("ridge bias", "baseline", 50_000, [0.8230, 0.8240, 0.8250][: len(values)])
    full = row("full", "full", 90_000, values, history=LONG)
    assert bool(report.enough(results(ridge, full))) == told
    assert report.enough(results(ridge, {**full, "history": [LONG[0][:2]]})) == []  # hardly trained


def test_a_table_that_beats_all_baselines_is_held_against_the_best_at_no_more_bytes() -> None:
    linear, large = (row(f"linear {size}", "baseline", size, [0.81, 0.81]) for size in (262_000, 999_000))
    base = row("base rate", "baseline", 4, [0.9, 0.9])
    full = row("full", "full", 500_000, [0.79, 0.7902], history=LONG)
    (said,) = report.against_baselines({**results(base, large, linear, full), "budgets": []})
    assert said == (
        "The best table, full (500KB, 0.7901 ± 0.0013), against linear 262000 (262KB, 0.8100 ± 0.0000), the best "
        "without vectors at no more bytes: difference −0.0199 ± 0.0013 (2 seeds)."
    )
    assert report.against_baselines({**results(linear, full), "budgets": [500_000]}) == []  # in the verdicts
    assert report.against_baselines({**results(full), "budgets": []}) == []


def test_a_task_says_how_long_a_training_is_worth_judging() -> None:
    base, full = row("base rate", "baseline", 4, [0.8]), row("full", "full", 90_000, [0.9], history=[[{"epoch": 1}]])
    found = results(base, full)
    assert report.enough(found) == []
    assert len(report.enough({**found, "measures": {**found["measures"], "least_evaluations": 1}})) == 1


def test_without_either_there_is_nothing_to_tell() -> None:
    assert report.enough(results(*ROWS[:3])) == []
    assert report.enough(results(ROWS[3])) == []
    assert report.enough(results()) == []
