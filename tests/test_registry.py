"""Methods, storages, sources and tasks by name, and those that installed packages bring."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from coset.errors import InputError
from coset.methods import method
from coset.registry import Registry
from coset.storage import storage

OWN = {
    "full": ("coset.methods.base", "METHODS", "coset.methods.full.Full"),
    "dense": ("coset.storage.base", "STORAGES", "coset.storage.dense.Dense"),
    "parquet": ("coset.data.sources.base", "SOURCES", "coset.data.sources.parquet.Parquet"),
    "ratings": ("coset.tasks.registry", "TASKS", "coset.tasks.ratings.task.RatingsTask"),
}
"""One of coset's own of each kind: where its registry is, and its class."""


def registry_of(name: str) -> Registry[Any]:
    module, variable, _ = OWN[name]
    found: Registry[Any] = getattr(import_module(module), variable)
    return found


@pytest.mark.parametrize("name", OWN)
def test_two_of_one_name(name: str, installed: Callable[..., None], tmp_path: Path, monkeypatch: Any) -> None:
    """Both are named; and until one of them has gone, whatever asks for all says so."""
    module, variable, spot = OWN[name]
    registry = registry_of(name)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(
        f"from {module} import {variable} as registry\nclass Mine: ...\nregistry.add({name!r}, Mine)\n"
    )
    installed(registry, "mine")
    sentence = rf"two {registry.kind}s are called {name!r}: {spot} and mine\.Mine; rename one, or uninstall its package"
    for _ in range(2):
        with pytest.raises(InputError, match=sentence):
            registry.all()
    assert f"{registry.find(name).__module__}.{registry.find(name).__name__}" == spot


@pytest.mark.parametrize("name", OWN)
def test_a_package_that_cannot_be_imported(
    name: str, installed: Callable[..., None], tmp_path: Path, monkeypatch: Any
) -> None:
    """It is named, and takes nothing away from what is asked for by a name that coset knows."""
    registry = registry_of(name)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    installed(registry, "broken")
    with pytest.raises(InputError, match=rf"the {registry.kind} 'broken' of broken cannot be loaded .Module"):
        registry.find("another")
    assert registry.find(name).name == name


@pytest.mark.parametrize("name", OWN)
def test_names(name: str) -> None:
    registry = registry_of(name)
    with pytest.raises(InputError, match=rf"unknown {registry.kind} '{name}s': did you mean '{name}'"):
        registry.find(f"{name}s")
    with pytest.raises(InputError, match=rf"unknown {registry.kind} '3'"):
        registry.find(3)
    before = dict(registry.all())
    for wrong in ("", "Upper", "two words", 3):
        with pytest.raises(InputError, match=f"a {registry.kind} is named by small letters, digits, dashes and und"):
            registry.add(wrong, type("Mine", (), {}))  # type: ignore[arg-type]
    registry.add(name, registry.find(name))  # a module that is imported again
    assert registry.all() == before


@pytest.mark.parametrize(("kind", "read", "name"), [("method", method, "full"), ("storage", storage, "dense")])
def test_what_is_written_as_json(kind: str, read: Callable[[Any], Any], name: str) -> None:
    assert read({kind: name}) == read(name) == read(read(name).to_json())
    for wrong, words in (
        ({}, f'a {kind} is written {{"{kind}": "<name>", …}}'),
        ({kind: 3}, f'a {kind} is written {{"{kind}": "<name>", …}}'),
        ({kind: name, "version": 2}, f"{kind} '{name}' is of version 2; this coset knows version 1"),
        ({kind: name, "version": True}, f"{kind} '{name}' is of version True"),
        ({kind: name, "other": 1}, "'other'"),
    ):
        with pytest.raises(InputError) as error:
            read(wrong)
        assert words in str(error.value)
