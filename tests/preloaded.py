"""A process that has loaded torch and numba, and forks one for each command of coset that it is told to run: what is
killed is a process of its own, which did not take seconds to start.

Reads requests from stdin, a line of JSON each, and answers each with a line.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numba  # noqa: F401  # not polars, nor coset's kernels run: these start threads, which a fork does not have
import torch._dynamo  # noqa: F401  # which any optimizer of torch loads
import typer._adapters  # noqa: F401

from coset import cli
from coset.experiments import compare, evaluate, subject, train  # noqa: F401
from coset.report import plots  # noqa: F401
from coset.tasks import clicks, ratings  # noqa: F401


def start(arguments: list[str], folder: str) -> int:
    """The id of a process that runs `coset ARGUMENTS` in a folder, and says nothing."""
    if process := os.fork():
        return process
    code = 1
    try:
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.argv = ["coset", *arguments]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(code)


def answer(request: dict[str, Any]) -> int | bool:
    if "start" in request:
        return start(request["start"], request["in"])
    return os.waitpid(request["ended"], os.WNOHANG) != (0, 0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
