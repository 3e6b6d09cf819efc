"""The files of an artifact, and its manifest, which holds their checksums and its own (docs/artifact.md)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coset.documents import Json, parse_json
from coset.errors import InputError
from coset.files import path_of, read_text

FORMAT, VERSION = "coset.artifact", 1
MANIFEST, TABLES, VOCABULARIES, CARD = "manifest.json", "tables.safetensors", "vocabularies.safetensors", "README.md"
FILES = (TABLES, VOCABULARIES)
"""Those with checksums; the card is for people, who may add to it."""
OTHERS = "others.safetensors"
"""One more, where tables are those of a checkpoint: its other tensors."""
_UNKNOWN = "0" * 64
_CHECKSUM = re.compile(r'"checksum": "([0-9a-f]{64})"')
_CURE = "export it again, or copy it again"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the files that are in a folder already.

    Args:
        manifest: its sections; `format`, `version`, `checksum` and `files` are added before them.
    """
    there = [name for name in (*FILES, OTHERS) if (folder / name).is_file()]
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": _digest_of(folder / name)} for name in there}
    whole = {"format": FORMAT, "version": VERSION, "checksum": _UNKNOWN, "files": files, **manifest}
    text = _lines(whole)
    found = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_bytes(text.replace(_UNKNOWN, found, 1).encode())


def read_manifest(folder: Path) -> Json:
    """The manifest of an artifact, whose files were compared with their checksums.

    Raises:
        InputError: no artifact there, one of a newer version, or a file that is missing or was changed.
    """
    path = path_of(folder) / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder}: no artifact here (an artifact has a {MANIFEST}); coset export makes one of a run, and "
            f"coset compress of a checkpoint"
        )
    text = read_text(path, "JSON")
    manifest = parse_json(text, path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not the manifest of an artifact (its format is not {FORMAT!r})")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{path}: damaged, as its version is {str(version)[:40]!r}; {_CURE}")
    if version > VERSION:
        raise InputError(
            f"{folder}: an artifact of version {version}, and this coset reads versions up to {VERSION}; update coset"
        )
    said = _CHECKSUM.search(text)
    checksum = said[1] if said else _UNKNOWN
    found = hashlib.sha256(path.read_bytes().replace(checksum.encode(), _UNKNOWN.encode(), 1)).hexdigest()
    if found != checksum:
        raise InputError(
            f"{path}: changed since it was written, as its checksum is {found[:12]}… and not {checksum[:12]}…; {_CURE}"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) - {OTHERS} != set(FILES):
        raise InputError(f"{path}: damaged, as it names other files than {' and '.join(FILES)}; {_CURE}")
    for name, of in files.items():
        _check_file(Path(folder) / name, of)
    return manifest


def _lines(whole: Mapping[str, Any]) -> str:
    """JSON with a line for each section, and for each entry of a section of tables, such as those of arrays: to be read
    by people, in few bytes."""

    def compact(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def section(value: Any) -> str:
        if not isinstance(value, Mapping) or not value or not all(isinstance(of, Mapping) for of in value.values()):
            return compact(value)
        return "{\n" + ",\n".join(f"  {compact(key)}: {compact(of)}" for key, of in value.items()) + "\n }"

    return "{\n" + ",\n".join(f" {compact(key)}: {section(value)}" for key, value in whole.items()) + "\n}\n"


def _check_file(path: Path, said: Any) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file, and its manifest names it; {_CURE}")
    size, digest = (said.get("bytes"), said.get("sha256")) if isinstance(said, dict) else (None, None)
    if path.stat().st_size != size:
        raise InputError(f"{path}: has {path.stat().st_size:,} bytes, and its manifest says {size}; {_CURE}")
    if (found := _digest_of(path)) != digest:
        raise InputError(f"{path}: changed, as its SHA-256 is {found[:12]}… and not {str(digest)[:12]}…; {_CURE}")


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
