"""The names of coset's own methods, written into the packages that hand them on: `python -m tools.public_names`.

Type checkers and `dir` know a name only if it stands in a file. So `make docs` writes the classes that the registry
finds between two marks in each of `FILES`, and a test tells when they are stale. Whoever adds a method adds one file.
"""

from __future__ import annotations

import re
from pathlib import Path

from coset.methods import registered

ROOT = Path(__file__).parents[1]
BEGIN, END = "# -- made by `make docs` of the registered methods --\n", "# -- end --\n"


def classes() -> dict[str, str]:
    """The module of each class of a method that comes with coset, by its name."""
    kinds = [kind for kind in registered().values() if kind.__module__.startswith("coset.methods.")]
    return {kind.__name__: kind.__module__ for kind in sorted(kinds, key=lambda kind: kind.__name__)}


def for_top() -> str:
    """What `coset/__init__.py` says of methods."""
    names = list(classes())
    return "\n".join([
        "if TYPE_CHECKING:",
        "    from coset.methods import (",
        *(f"        {name}," for name in names),
        "    )",
        "",
        "__all__ += [",
        *(f'    "{name}",' for name in names),
        "]",
        "",
    ])  # fmt: skip


def for_methods() -> str:
    """What `coset/methods/__init__.py` says of them."""
    homes = classes()
    return "\n".join([
        "if TYPE_CHECKING:",
        *(f"    from {home} import {name}" for name, home in sorted(homes.items(), key=lambda pair: pair[1])),
        "",
        "_HOMES = {",
        *(f'    "{name}": "{home.removeprefix("coset.methods.")}",' for name, home in homes.items()),
        "}",
        "__all__ += [",
        *(f'    "{name}",' for name in homes),
        "]",
        "",
    ])  # fmt: skip


FILES = {
    ROOT / "src" / "coset" / "__init__.py": for_top,
    ROOT / "src" / "coset" / "methods" / "__init__.py": for_methods,
}


def rewritten(path: Path) -> str:
    """The file with what stands between the marks made anew."""
    text, between = (
        path.read_text(encoding="utf-8"),
        re.compile(f"({re.escape(BEGIN)}).*?({re.escape(END)})", re.DOTALL),
    )
    found, times = between.subn(lambda marks: marks[1] + FILES[path]() + marks[2], text)
    if times != 1:
        raise ValueError(f"{path}: expected the marks {BEGIN.strip()!r} and {END.strip()!r} once")
    return found


if __name__ == "__main__":
    for path in FILES:
        path.write_text(rewritten(path), encoding="utf-8")
