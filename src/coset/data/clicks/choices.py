"""`prepare.json`: the choices of a preparation, and those that may differ when it is resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coset import settings as fields
from coset.data.clicks.described import PREPARED
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.write import clear
from coset.errors import InputError
from coset.files import read_json, write_json

CHOICES = "prepare.json"
"""The file with all choices; written first, it marks the folder."""
WORK = "work"
"""The folder of temporary files until the data are prepared."""

_FORMAT, _VERSION = "coset.prepare", 1
_OF_READING = ("hashing", "hash_seed", "log")  # settings of the first step; all others are of the second


def choices_of(
    name: str, schema: ClickSchema, settings: PrepareSettings, files: list[dict[str, Any]], like: str | None
) -> dict[str, Any]:
    """All choices, as plain JSON values."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": name,
        "schema": fields.plain(schema),
        "settings": fields.plain(settings),
        "files": files,
        "like": like,
    }


def begun(out: Path, choices: dict[str, Any]) -> None:
    """Write the choices into a folder, or check that it was begun with them.

    Until all is done, settings of the second step may change, as they do not affect what was read; columns written by
    the earlier ones are made again.

    Raises:
        InputError: it was begun with other choices; the message names the first one that differs.
    """
    if not (out / CHOICES).exists():
        write_json(out / CHOICES, choices)
        return
    before = read_json(out / CHOICES)
    if not isinstance(before, dict) or before.get("format") != _FORMAT:
        raise InputError(f"{out / CHOICES}: not written by coset prepare; choose another folder")
    choices = json.loads(json.dumps(choices))
    then = before.get("settings")
    if isinstance(then, dict) and not (out / PREPARED).exists():
        before |= {"settings": _read_alike(choices["settings"], then)}
    _check_same(choices, before, out)
    if choices["settings"] != then:
        for note in (out / WORK).glob("*.done.json"):  # before the new settings are written
            note.unlink()
        clear(out)
        shutil.rmtree(out / "vocabularies", ignore_errors=True)
        write_json(out / CHOICES, choices)


def _read_alike(settings: Mapping[str, Any], then: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings without those that affect reading."""
    kept = {name: then.get(name) for name in _OF_READING}
    if settings["split"] == "time":  # times are read for such a split alone
        kept["split"] = then.get("split")
    return {**settings, **kept}


def _check_same(choices: Mapping[str, Any], before: Mapping[str, Any], out: Path) -> None:
    """Raise an `InputError` that names the first choice that is not what the folder was begun with."""
    for key, value in choices.items():
        then = before.get(key)
        if isinstance(value, dict) and isinstance(then, dict):
            for field in {**value, **then}:
                if value.get(field) != then.get(field):
                    raise InputError(
                        f"{out}: begun with {key} {field} = {then.get(field)!r}, but now it is {value.get(field)!r}; "
                        "resume with the same choices, or choose another folder"
                    )
        elif value != then:
            what = (
                "the data differ from those that the folder was begun with"
                if key == "files"
                else (f"begun with {key} {then!r}, but now it is {value!r}")
            )
            raise InputError(f"{out}: {what}; resume with the same, or choose another folder")
