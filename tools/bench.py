"""The benchmarks: `python -m tools.bench [NAME] [--out FOLDER] [--json] [-- OPTIONS]`.

Each is a script in `benchmarks/`, run in a process of its own. `make bench` installs the peers into environments of
their own; a script runs in the one that has its peers, where that is there, and else with the Python that runs this.
OPTIONS go to the script, as in `python -m tools.bench embedding_step -- --quick --threads 1`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coset.errors import InputError, unknown
from coset.files import write_text

ROOT = Path(__file__).parents[1]
"""Of the checkout."""

ENVIRONMENTS = {"keras_mixed_dimension": ".venv-keras", "ratings_peers": ".venv-ratings"}
"""Which environment has the peers of a script; `.venv-bench` for those not named."""


def scripts(root: Path = ROOT) -> dict[str, Path]:
    """The benchmarks of a checkout, by name."""
    return {path.stem: path for path in sorted((root / "benchmarks").glob("*.py")) if path.stem != "measuring"}


def bench(
    name: str | None = None, options: Sequence[str] = (), out: Path | None = None, *, root: Path = ROOT
) -> Iterator[dict[str, Any]]:
    """Run one benchmark, or all of them, and yield what each has measured.

    Args:
        name: of the benchmark; all when it is None.
        options: for the script of that one.
        out: a folder, which gets `<name>.json` as soon as a script is done.

    Raises:
        InputError: no such benchmark, or, after all others are done, some that did not end well.
    """
    known = scripts(root)
    if name is not None and name not in known:
        raise unknown("benchmark", name, known)
    failed = []
    for each in known if name is None else [name]:
        try:
            found = measured(each, known[each], options, root)
        except InputError as error:
            if name is not None:
                raise
            print(f"coset: {error}", file=sys.stderr, flush=True)
            failed.append(each)
            continue
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / f"{each}.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        yield found
    if failed:
        raise InputError(f"not measured: {', '.join(failed)}; the reasons are above")


def measured(name: str, script: Path, options: Sequence[str], root: Path = ROOT) -> dict[str, Any]:
    """What the script prints as JSON; all else that it has to say is on stderr.

    Raises:
        InputError: it did not end well, or printed something else.
    """
    own = root / ENVIRONMENTS.get(name, ".venv-bench") / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    print(f"measuring {name}", file=sys.stderr, flush=True)
    command = [python, str(script), "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        raise InputError(f"the benchmark {name} ended with code {done.returncode}")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"benchmark", "host", "rows"} <= found.keys():
        raise InputError(f"the benchmark {name} printed no results")
    return found


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Results as text: one line for what was run where, then one a row."""
    yield f"{found['benchmark']}: " + ", ".join(f"{key} {value}" for key, value in found["host"].items())
    wide = max((len(row["case"]) for row in found["rows"]), default=4)
    yield f"{'case':{wide}}  {'peer':28} {'coset ms':>10} {'peer ms':>10} {'ratio':>8}"
    for row in found["rows"]:
        numbers = f"{row['coset_ms']:10.3f} {row['peer_ms']:10.3f} {row['ratio']:8.2f}"
        yield f"{row['case']:{wide}}  {row['peer']:28} {numbers}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmarks that the command line names, and print what each has measured as soon as it is done."""
    ours, options = _parted(list(sys.argv[1:] if words is None else words))
    parser = argparse.ArgumentParser("python -m tools.bench", description="Measure coset against its peers.")
    parser.add_argument("name", nargs="?", help="the benchmark to run; all by default")
    parser.add_argument("--out", type=Path, help="a folder that gets the results, a JSON file for each benchmark")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(ours)
    found = []
    try:
        for results in bench(given.name, options, given.out):
            found.append(results)
            if not given.json:
                print("\n".join(lines(results)), flush=True)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    if given.json:
        print(json.dumps(found[0] if given.name else {"benchmarks": found}, allow_nan=False))


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Words before and after `--`: for this program, and for the script that it runs."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    main()
