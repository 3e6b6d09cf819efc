"""The command line: `coset inspect | plan | prepare | train | compare | evaluate | predict | compress | expand |
export`."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_command

from coset.cli.data import inspect, prepare
from coset.cli.models import compare, evaluate, predict, train
from coset.cli.output import fail, print_in_any_code_page, warn
from coset.cli.planning import compress, expand, plan
from coset.cli.serving import export
from coset.errors import InputError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="Memory-efficient embedding tables for recommender models: what they save, and what the saving costs.",
)  # fmt: skip

for _command in (inspect, plan, prepare, train, compare, evaluate, predict, compress, expand, export):
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from coset import __version__

        typer.echo(f"coset {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: an `InputError` becomes one sentence and exit code 2, and a warning one sentence."""
    print_in_any_code_page()
    with warnings.catch_warnings():
        warnings.showwarning = warn
        _main()


@cache  # typer takes longer to make them than most commands take to say what is wrong
def _commands() -> Any:
    return get_command(app)


def _main() -> None:
    try:
        sys.exit(_commands().main(prog_name="coset", standalone_mode=False) or 0)
    except InputError as error:
        fail(str(error))
    except OSError as error:  # such as a full disk or a read-only folder
        fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except typer.Abort as error:
        if isinstance(error.__cause__, EOFError):  # a file that ended too early, not a user who ended the command
            raise error.__cause__ from None
        sys.exit(130)
    except Exception as error:
        # A wrong call, such as an unknown option; typer's own class for it moved between versions.
        if not hasattr(error, "format_message"):
            raise
        if sentence := error.format_message():
            fail(f"{sentence} (see --help)")
        sys.exit(2)  # no command was named, and typer has printed the help
