"""The results of a comparison as text: tables for the terminal and in Markdown, and sentences on the best rows.

Everything here is a pure function of the results that `coset compare` writes as `results.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from coset.experiments.spread import half_interval
from coset.report.phrases import NOTHING
from coset.report.remarks import TABLES, remarks
from coset.sizes import format_size

Results = Mapping[str, Any]
ResultRow = Mapping[str, Any]


def measures(results: Results) -> Mapping[str, Any]:
    """The metrics of these results: the score that rows are compared by, its names, further columns."""
    found: Mapping[str, Any] = results["measures"]
    return found


def table(results: Results) -> Table:
    """The rows of a comparison as a rich table, with the notes below, one a line.

    It is drawn for 80 columns and more: a name that is too long for its column wraps.
    """
    shown = Table(
        title=Text(title(results), style="bold"),
        title_justify="left",
        caption=Text("\n".join(_notes(results)), style="not italic"),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        min_width=79,  # where the terminal is wide, so that few notes wrap
    )
    for heading in _headings(results):
        if heading == "name":
            shown.add_column(heading, overflow="fold", min_width=12)
        elif measures(results)["costs"]:  # more columns, so that headings need two lines
            shown.add_column(heading.replace(" ±", "\n±").replace("M rows", "M\nrows"), justify="right", no_wrap=True)
        else:
            shown.add_column(heading, justify="right", no_wrap=True)
    rows = list(results["rows"])
    for row, cells, following in zip(rows, _cells(results), [*rows[1:], None], strict=True):
        last = following is None or following["group"] != row["group"]
        shown.add_row(*map(Text, cells), end_section=last)
    return shown


def markdown(results: Results) -> str:
    """The same table and notes in Markdown, and a line on how the numbers were made."""
    headings = _headings(results)
    alignment = ["---" if heading == "name" else "---:" for heading in headings]
    lines = [_line(headings), _line(alignment), *map(_line, _cells(results)), ""]
    lines += [f"- {_escape(note)}" for note in _notes(results)]
    lines += ["", _escape(provenance(results))]
    if results["synthetic"]:
        lines = ["**SYNTHETIC DATA**: made by a program, so it says nothing about real users.", "", *lines]
    return "\n".join(lines) + "\n"


PLAIN = "full", "narrow", "bias", "baseline"
"""Groups of rows that compress nothing."""
WITHOUT_VECTORS = "bias", "baseline"


@dataclass(frozen=True)
class Contest:
    """The best compressed row within a byte budget, and the plain model that it must beat.

    Args:
        budget: in bytes.
        compressed: the row of group `compressed` with the best validation score within the budget.
        plain: of the rows that compress nothing (full and narrow tables, biases alone, baselines), that with the best
            validation score within the budget.
        difference: mean over the common seeds of `compressed` minus `plain`.
        spread: half the 95 % interval of that mean; None for fewer than two common seeds.
        seeds: the seeds of both rows.
    """

    budget: int
    compressed: ResultRow | None
    plain: ResultRow | None
    difference: float | None = None
    spread: float | None = None
    seeds: tuple[int, ...] = ()


def contests(results: Results, budgets: Iterable[int]) -> list[Contest]:
    """For each byte budget, the best compressed row within it against the best plain row within it."""
    return [_contest(results["rows"], budget, measures(results)) for budget in budgets]


def best_compressed(results: Results, budgets: Iterable[int]) -> str:
    """The `contests` of a comparison as a Markdown table: does compressing beat simply being narrow?"""
    said = measures(results)
    entry = ("bytes", f"val {said['label']}")
    headings = ("budget", "best compressed", *entry, "best narrow", *entry, "difference")
    alignment = ["---" if heading.startswith("best") else "---:" for heading in headings]
    lines = [_line(headings), _line(alignment)]
    for contest in contests(results, budgets):
        entries = (*_entry(contest.compressed, results), *_entry(contest.plain, results))
        lines.append(_line((format_size(contest.budget), *entries, _verdict(contest))))
    meaning = (
        f"Difference: validation {said['label']} of compressed − narrow, mean ± half its 95 % interval over the seeds "
        f"that both have; {'above' if said['better'] == 'higher' else 'below'} 0, compressing wins."
    )
    return "\n".join([*lines, "", meaning]) + "\n"


def verdicts(results: Results, budgets: Iterable[int]) -> list[str]:
    """The `contests` of a comparison as sentences, one a budget."""
    return [
        f"Within {format_size(contest.budget)}: the best compressed row, {contest.compressed['name']}, "
        f"{_scored(contest.compressed, results)}, against {contest.plain['name']}, "
        f"{_scored(contest.plain, results)}: difference {_verdict(contest)}."
        for contest in contests(results, budgets)
        if contest.compressed is not None and contest.plain is not None
    ]


_NOTICED = 1e-3
"""A gain of less than this share of the score is none, where one seed tells nothing of its spread."""


def enough(results: Results) -> list[str]:
    """A sentence where no row with vectors is better than the best without; none where one is."""
    said, rows = measures(results), results["rows"]
    most = max((row["bytes"] for row in rows), default=0)
    without, others = (_best(rows, groups, most, said["score"], said["better"] == "higher")
                       for groups in (WITHOUT_VECTORS, TABLES))  # fmt: skip
    if without is None or others is None:
        return []
    gain, spread, _ = _difference(others, without, said)
    longest = max((len(run) for row in rows if row["group"] in TABLES for run in row["history"]), default=0)
    if gain is None or longest < said.get("least_evaluations", 3):  # hardly trained, so nothing is shown
        return []
    gain = gain if said["better"] == "higher" else -gain
    least = _NOTICED * abs(metric(without, said["score"])[0] or 0.0) if spread is None else spread
    if gain > least:
        return []
    verb = "is better than" if -gain > least else "is as good as"
    told = _told(*_difference(others, without, said))
    return [
        f"On these data {without['name']} ({format_size(without['bytes'])}, {_scored(without, results)}) {verb} "
        f"every table, of which the best is {others['name']} ({format_size(others['bytes'])}, "
        f"{_scored(others, results)}): difference {told}; take {without['name']}."
    ]


def against_baselines(results: Results) -> list[str]:
    """A sentence on the best table against the best row without vectors at no more bytes, where there is no budget at
    which `verdicts` compares them, and the table is better; see `enough`."""
    said, rows = measures(results), results["rows"]
    higher = said["better"] == "higher"
    best = _best(rows, TABLES, max((row["bytes"] for row in rows), default=0), said["score"], higher)
    without = None if best is None else _best(rows, WITHOUT_VECTORS, best["bytes"], said["score"], higher)
    if results["budgets"] or best is None or without is None or without["group"] != "baseline" or enough(results):
        return []
    return [
        f"The best table, {best['name']} ({format_size(best['bytes'])}, {_scored(best, results)}), against "
        f"{without['name']} ({format_size(without['bytes'])}, {_scored(without, results)}), the best without vectors "
        f"at no more bytes: difference {_told(*_difference(best, without, said))}."
    ]


def contrasts(results: Results, pairs: Iterable[Sequence[str]]) -> list[str]:
    """The differences of pairs of rows as sentences, one a pair of names; leaves out pairs with a missing row."""
    rows, said = {row["name"]: row for row in results["rows"]}, measures(results)
    return [
        f"{name}, {_scored(rows[name], results)}, against {other}, {_scored(rows[other], results)}: difference "
        f"{_told(*_difference(rows[name], rows[other], said))}."
        for name, other in pairs
        if name in rows and other in rows
    ]


def title(results: Results) -> str:
    """The title of the comparison and its data, marked where the data are synthetic."""
    marker = "SYNTHETIC DATA · " if results["synthetic"] else ""
    name, dataset = str(results["title"]), str(results["dataset"])
    return f"{marker}{name}" if dataset in name else f"{marker}{name} · {dataset}"


def seeds(results: Results) -> str:
    """The seeds of all rows as text: `seed 0`, `seeds 0, 1, 2`, or `seeds 0–9` for many consecutive ones."""
    known = sorted({seed for row in results["rows"] for seed in row["seeds"]})
    if len(known) > 3 and known == list(range(known[0], known[-1] + 1)):
        return f"seeds {known[0]}–{known[-1]}"
    return f"{'seed' if len(known) == 1 else 'seeds'} {', '.join(map(str, known)) or NOTHING}"


def epochs(results: Results) -> str:
    """The epochs of all rows as text: `15 epochs`, or `3–15 epochs` where they differ."""
    known = sorted({row["epochs"] for row in results["rows"]} - {0})  # baselines, which are not trained
    if not known:
        return "no epochs"
    span = f"{known[0]}–{known[-1]}" if len(known) > 1 else str(known[0])
    return f"{span} {'epoch' if known == [1] else 'epochs'}"


def provenance(results: Results) -> str:
    """One line on how the numbers were made: data, split, seeds, epochs, host, versions."""
    parts = [f"Dataset {results['dataset']}{' (synthetic)' if results['synthetic'] else ''}"]
    parts += [f"{what}: {_pairs(results[what])}" for what in ("split", "protocol") if results.get(what)]
    parts += [f"{seeds(results)}; {epochs(results)}"]
    parts += [f"{what}: {_pairs(results[what])}" for what in ("host", "versions") if results.get(what)]
    return "; ".join(parts) + "."


def metric(row: ResultRow, name: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a row's metric over its seeds; None where unknown."""
    entry = row["metrics"].get(name) or {}
    return entry.get("mean"), entry.get("std")


def half_width(row: ResultRow, name: str) -> float | None:
    """The number after the ± of a row's metric: half the 95 % interval of its mean, if known."""
    found: float | None = (row["metrics"].get(name) or {}).get("interval")
    return found


def _contest(rows: Sequence[ResultRow], budget: int, said: Mapping[str, Any]) -> Contest:
    score = said["score"]
    full = min((row["bytes"] for row in rows if row["group"] == "full"), default=None)
    smaller = [row for row in rows if full is None or row["bytes"] < full]  # the other groups compress nothing
    higher = said["better"] == "higher"
    compressed = _best(smaller, ("compressed",), budget, score, higher)
    plain = _best(rows, PLAIN, budget, score, higher)
    if compressed is None or plain is None:
        return Contest(budget, compressed, plain)
    return Contest(budget, compressed, plain, *_difference(compressed, plain, said))


def _difference(
    row: ResultRow, other: ResultRow, said: Mapping[str, Any]
) -> tuple[float | None, float | None, tuple[int, ...]]:
    """Mean and spread of `row` minus `other` over the seeds that both have, and these seeds."""
    mine, its = _by_seed(row, said["score"]), _by_seed(other, said["score"])
    common = tuple(sorted(mine.keys() & its.keys()))
    differences = [mine[seed] - its[seed] for seed in common]
    mean = fmean(differences) if differences else None
    std = stdev(differences) if len(differences) > 1 else None
    return mean, half_interval(std, len(common)), common


def _best(
    rows: Sequence[ResultRow], groups: tuple[str, ...], budget: int, score: str, higher: bool
) -> ResultRow | None:
    fitting = [row for row in rows if row["group"] in groups and row["bytes"] <= budget]
    known = [(mean, row) for row in fitting if (mean := metric(row, score)[0]) is not None]
    found = min(known, key=lambda of: (-of[0] if higher else of[0], of[1]["bytes"]), default=None)
    return None if found is None else found[1]


def _by_seed(row: ResultRow, score: str) -> dict[int, float]:
    values = zip(row["seeds"], row["metrics"][score]["values"], strict=True)
    return {seed: value for seed, value in values if value is not None}


def _entry(row: ResultRow | None, results: Results) -> tuple[str, str, str]:
    if row is None:
        return "none fits", NOTHING, NOTHING
    return str(row["name"]), format_size(row["bytes"]), _scored(row, results)


def _scored(row: ResultRow, results: Results) -> str:
    """The score of a row with its spread."""
    said = measures(results)
    return _spread(metric(row, said["score"])[0], half_width(row, said["score"]))


def _verdict(contest: Contest) -> str:
    if contest.compressed is None or contest.plain is None:
        return NOTHING
    return _told(contest.difference, contest.spread, contest.seeds)


def _told(mean: float | None, std: float | None, common: Sequence[int]) -> str:
    """A difference as text."""
    if mean is None:
        return "no common seed"
    spread = "" if std is None else f" ± {std:.4f}"
    return f"{_signed(mean)}{spread} ({len(common)} {'seed' if len(common) == 1 else 'seeds'})"


def _headings(results: Results) -> tuple[str, ...]:
    said = measures(results)
    sign = " ± 95 %" if _repeated(results) else ""
    columns = [f"{column['heading']}{sign if column['spread'] else ''}" for column in said["columns"]]
    score = (f"val {said['label']}{sign}", *columns)
    if said["costs"]:
        return ("name", "bytes", "ratio", *score, "s/M rows", "peak")
    return ("name", "parameters", "bytes", "ratio", *score, "s/epoch")


def _repeated(results: Results) -> bool:
    return any(metric(row, measures(results)["score"])[1] is not None for row in results["rows"])


def _cells(results: Results) -> Iterator[tuple[str, ...]]:
    said = measures(results)
    for row, mark in zip(results["rows"], _marks(results), strict=True):
        ratio = row["ratio"]
        columns = [
            _spread(metric(row, name)[0], half_width(row, name) if spread else None)
            for name, spread in ((column["metric"], column["spread"]) for column in said["columns"])
        ]
        yield (
            f"{row['name']}{f' ({mark})' if mark else ''}",
            *(() if said["costs"] else (f"{row['parameters']:,}",)),
            format_size(row["bytes"]),
            NOTHING if ratio is None else f"{ratio:,.1f}×",
            _scored(row, results),
            *columns,
            *_costs(row, results),
        )


def _costs(row: ResultRow, results: Results) -> tuple[str, ...]:
    """Seconds for an epoch; or for a million rows, and the most memory that training took."""
    seconds, peak = row["seconds_per_epoch"], row.get("peak_resident_bytes")
    if not measures(results)["costs"]:
        return (_seconds(seconds),)
    pace = None if seconds is None else seconds / results["split"]["training_rows"] * 1e6
    return _seconds(pace), NOTHING if peak is None else format_size(peak)


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:.{2 if seconds < 10 else 1}f}"


def _marks(results: Results) -> list[int]:
    """The number of each row's note, in order of appearance; 0 for none. Equal notes share a number."""
    numbers: dict[str, int] = {}
    notes = [row.get("note") for row in results["rows"]]
    return [numbers.setdefault(note, len(numbers) + 1) if note else 0 for note in notes]


def _notes(results: Results) -> list[str]:
    numbered = {mark: row["note"] for row, mark in zip(results["rows"], _marks(results), strict=True) if mark}
    notes = [f"({mark}) {' '.join(str(note).split())}" for mark, note in numbered.items()]
    vocabulary = format_size(results["vocabulary_bytes"])
    said = measures(results)
    over = "mean ± half its 95 % interval (Student's t) over " if _repeated(results) else ""
    part = results["protocol"].get("reported", "the validation part")
    notes.append(f"Measured on {part}, {over}{seeds(results)}; {epochs(results)}.")
    layers = [size for row in results["rows"] if (size := row.get("layers_bytes"))]
    if layers:
        least, most = format_size(min(layers)), format_size(max(layers))
        extra = (
            f"layers, {least if least == most else f'{least} to {most}'}, and the vocabulary, {vocabulary}, are extra"
        )
        notes.append(f"Bytes: tables and their index state; {extra}.")
    else:
        notes.append(f"Bytes: tables, per-id biases, index state; the vocabulary, {vocabulary}, is extra.")
    if results["noise_floor"] is not None:
        notes.append(
            f"Noise floor: no model can expect {said['article']} {said['label']} "
            f"{'above' if said['better'] == 'higher' else 'below'} {results['noise_floor']:.4f}."
        )
    without = enough(results)
    told = [
        *verdicts(results, results["budgets"]), *without, *against_baselines(results),
        *contrasts(results, results["contrasts"]), *remarks(results, without=bool(without)),
    ]  # fmt: skip
    return notes + [" ".join(str(note).split()) for note in results["notes"]] + told


def _spread(mean: float | None, std: float | None) -> str:
    if mean is None:
        return NOTHING
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _pairs(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_fact(value)}" for key, value in facts.items() if value is not None)


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, list | tuple):
        return "/".join(map(str, value))
    return str(value)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_escape, cells))} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
