"""Throw inputs at every way into coset, and tell of each that ends as it should not.

`python tests/fuzz/run.py --seconds 120` shares its time among the groups; `--inputs 10000` gives each group so many,
`--first 5000` leaves out those before. An input is a function of its group, the seed and its number, so that
`--group ratings --seed 3 --only 4711` makes it again.
Exit code 1 where an input ended in a traceback, took too long, changed a figure or lost a file.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from unittest import mock

from judge import Fault, Group

GROUPS = ("ratings", "clicks", "settings", "folders", "arguments")
"""Each is a file beside this one, whose `group(folder)` makes a `Group`."""

LIMIT = 30
"""Seconds of all cores that one input may take, or ten times as many of the clock, as cores may be busy otherwise; the
slowest takes about one."""

STDERR = os.dup(2)
"""Where threads are dumped, wherever stderr leads meanwhile."""

SHOWN = 10
"""Faults that a group shows in full before it stops."""

os.environ["RUST_BACKTRACE"] = "0"  # a panic of polars that takes long to tell of itself would meet the next input


class TooLong(BaseException):
    """An input took longer than `LIMIT`; no `except Exception` of what is tried may swallow it."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooLong


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise `TooLong` after so many seconds of cores, or ten times as many of the clock; dump all threads and end the
    process after twice as many of these."""
    faulthandler.dump_traceback_later(20 * seconds, exit=True, file=STDERR)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def try_input(group: Group, name: str, seed: int, number: int) -> tuple[str, str | None]:
    """What became of one input, and the fault, if it has one."""
    draw = random.Random(f"{name} {seed} {number}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            # No power is cut here, and flushing to disk takes longer than all else.
            with limit(LIMIT), warnings.catch_warnings(), mock.patch("os.fsync"):
                warnings.simplefilter("ignore")
                return group.try_input(draw, Path(scratch)), None
        except Fault as fault:
            return "fault", str(fault)
        except TooLong:
            return "fault", f"took longer than {LIMIT} s:\n{traceback.format_exc(limit=-12)}"
        except KeyboardInterrupt:
            raise
        except BaseException:  # polars' panics are no Exception
            return "fault", traceback.format_exc(limit=-12)


def run_group(name: str, seed: int, numbers: Iterator[int], seconds: float) -> int:
    """Try inputs of one group until time or numbers run out; the number of faults."""
    begun = time.monotonic()
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        group = import_module(name).group(Path(folder))
        begun = time.monotonic()  # what a group makes once is not its time
        with suppress(KeyboardInterrupt):  # what was tried until then is told
            for number in numbers:
                if time.monotonic() - begun > seconds or ends["fault"] == SHOWN:
                    break
                end, fault = try_input(group, name, seed, number)
                ends[end] += 1
                if fault is not None:
                    print(f"--- {name}: --group {name} --seed {seed} --only {number}\n{fault}\n", flush=True)
    tried = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    print(f"{name}: {ends.total():,} inputs in {time.monotonic() - begun:.0f} s: {tried}", flush=True)
    if ends.total() >= 100 and (blind := {"taken", "refused"} - ends.keys()):
        print(f"--- {name}: of so many inputs none was {blind.pop()}, so the group sees nothing\n", flush=True)
        return ends["fault"] + 1
    return ends["fault"]


def main() -> int:
    """Read the command line and try all groups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time for all groups together")
    parser.add_argument("--inputs", type=int, default=None, help="go up to this number in each group")
    parser.add_argument("--group", choices=GROUPS, action="append", help="these groups alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number to begin with")
    parser.add_argument("--only", type=int, default=None, help="the one input of this number")
    asked = parser.parse_args()
    if asked.inputs is None and asked.only is None and asked.seconds == float("inf"):
        parser.error("give --seconds, --inputs or --only")
    for alarm in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(alarm, _stop)
    groups, faults = asked.group or GROUPS, 0
    for name in groups:
        last = asked.inputs if asked.inputs is not None else sys.maxsize
        numbers = iter(range(asked.first, last)) if asked.only is None else iter([asked.only])
        faults += run_group(name, asked.seed, numbers, asked.seconds / len(groups))
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
