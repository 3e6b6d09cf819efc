"""The manifest of an artifact, and the checksums of its files."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path
from typing import Any

from coset_runtime.documents import parse
from coset_runtime.errors import InputError, entry

FORMAT, VERSION = "coset.artifact", 1
MANIFEST, TABLES, VOCABULARIES = "manifest.json", "tables.safetensors", "vocabularies.safetensors"
_CHECKSUM = re.compile(rb'"checksum": "([0-9a-f]{64})"')
_CURE = "export it again, or copy it again"


def opened(folder: Path) -> tuple[dict[str, Any], dict[str, mmap.mmap]]:
    """The manifest of an artifact and its files of tensors, mapped into memory, after all were compared with their
    checksums.

    Raises:
        InputError: no artifact there, one of a newer version, or a file that is missing or was changed.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: no artifact here (an artifact has a {MANIFEST})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({getattr(error, 'strerror', None) or error})") from None
    manifest = parse(text, path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not the manifest of an artifact (its format is not {FORMAT!r})")
    version = entry(manifest, "version", int, str(path))
    if version > VERSION:
        raise InputError(
            f"{folder}: an artifact of version {version}, and this coset-runtime reads versions up to {VERSION}; "
            f"update coset-runtime"
        )
    if version < 1:
        raise InputError(f"{path}: damaged, as its version is {version}; {_CURE}")
    said = _CHECKSUM.search(text)
    checksum = said[1] if said else b""
    found = hashlib.sha256(text.replace(checksum, b"0" * 64, 1) if said else text).hexdigest()
    if found.encode() != checksum:
        raise InputError(
            f"{path}: changed since it was written, as its checksum is {found[:12]}… and not "
            f"{checksum.decode()[:12]}…; {_CURE}"
        )
    files = entry(manifest, "files", dict, str(path))
    if set(files) != {TABLES, VOCABULARIES}:
        raise InputError(f"{path}: damaged, as it names other files than {TABLES} and {VOCABULARIES}; {_CURE}")
    return manifest, {name: _mapped(folder / name, files[name], path) for name in (TABLES, VOCABULARIES)}


def _mapped(path: Path, said: Any, manifest: Path) -> mmap.mmap:
    size, digest = entry(said, "bytes", int, str(manifest)), entry(said, "sha256", str, str(manifest))
    try:
        with path.open("rb") as file:
            there = path.stat().st_size
            if there != size:
                raise InputError(f"{path}: has {there:,} bytes, and its manifest says {size:,}; {_CURE}")
            found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, and its manifest names it; {_CURE}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not readable ({getattr(error, 'strerror', None) or error})") from None
    actual = hashlib.sha256(found).hexdigest()
    if actual != digest:
        raise InputError(f"{path}: changed, as its SHA-256 is {actual[:12]}… and not {digest[:12]}…; {_CURE}")
    return found
