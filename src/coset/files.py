"""Writing to disk so that a reader sees the old file or the whole new one, and never a part."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coset.documents import parse_json, parse_toml
from coset.errors import InputError, brief

try:
    import fcntl
except ImportError:  # Windows: there is no such lock
    fcntl = None  # type: ignore[assignment]


_ASIDE = ".coset-part"
_LOCK = ".coset-lock"
_NAME = "x" * 64  # as long as the names that coset's own files have


def path_of(given: Any) -> Path:
    r"""The path that a user gave, if the system can look for it; nothing need exist there.

    Raises:
        InputError: it is no path, or the system cannot look there: it is too long, even if only for the files in it,
            has a NUL in it, or lies in a folder that is closed to this user.

    Example:
        >>> path_of("a\0b")
        Traceback (most recent call last):
        coset.errors.InputError: 'a\x00b': not a usable path (embedded null byte)
    """
    try:
        os.stat(Path(given) / _NAME)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except TypeError:
        raise InputError(f"a path is a text or a pathlib.Path, not {brief(given)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{brief(str(given))}: not a usable path ({reason})") from None
    return Path(given)


def expanded(given: Any) -> Path:
    """`path_of` what a user gave, where `~` is their home and `~name` another's, as in a shell.

    Raises:
        InputError: as `path_of`, or there is no user of this name.
    """
    try:
        return path_of(path_of(given).expanduser())
    except RuntimeError:
        reason = "there is no user of this name"
        raise InputError(f"{brief(str(given))}: not a usable path ({reason})") from None


@contextmanager
def replacing(path: Path, *, flush_folder: bool = True) -> Iterator[Path]:
    """Yield a new path beside `path`; when the block ends well, flush it to disk and rename it to `path`.

    A block that raises leaves `path` as it was. The folder is flushed too, so the rename survives a power cut; a caller
    that writes many files flushes them together, with `flush_below`.
    """
    path = path_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A part of the name, as one that the system allows may be too long with more around it.
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=_ASIDE, dir=path.parent)
    except OSError as error:  # its message names the temporary file
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(path)) from None
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())  # mkstemp makes private files; a result is an ordinary one
        os.replace(aside, path)
        if flush_folder:
            _flush_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_tensors(path: Path, *, flush_folder: bool = True) -> Iterator[Path]:
    """As `replacing`, for a block that writes with safetensors, whose errors of the system become `OSError`, so that a
    full disk raises the same error however a file is written."""
    from safetensors import SafetensorError

    with replacing(path, flush_folder=flush_folder) as aside:
        try:
            yield aside
        except SafetensorError as error:
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else None
            reason = os.strerror(number) if number else f"cannot be written ({error})"
            raise OSError(number, reason, str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in UTF-8, wholly or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def check_writable(path: Path) -> None:
    """Raise an `InputError` where no file can be written at `path`, before long work begins; its folders may be
    missing."""
    path = path_of(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"{path}: cannot be written, as {above} is no folder")
    try:
        with tempfile.TemporaryFile(dir=above):  # the only test that works for every kind of folder
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be written, as {above} takes no new file ({error.strerror})") from None


def write_json(path: Path, value: Any) -> None:
    """Replace the file at `path` by `value` as JSON; a value that JSON does not have (NaN) is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in the file at `path`; `InputError` names the file when it is missing, not JSON, or holds what
    `coset.documents` refuses."""
    return parse_json(read_text(path, "JSON"), path)


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML in the file at `path`; errors are those of `read_json`."""
    return parse_toml(read_text(path, "TOML"), path)


def read_text(path: Path, form: str) -> str:
    """The text of a file in UTF-8; an `InputError` names a file that cannot be read as `form`."""
    try:
        return path_of(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not readable as {form}, as it is not in UTF-8 ({error.reason})") from None
    except OSError as error:
        raise InputError(f"{path}: not readable as {form} ({error.strerror or error})") from None


@contextmanager
def claimed(folder: Path, mark: str, resume: bool) -> Iterator[None]:
    """Lock `folder` for this process, to write in it or to continue what an earlier process wrote.

    Args:
        folder: made if it is not there.
        mark: the file that marks a folder of this kind; its writer writes it before anything else.
        resume: whether to continue; without it the folder must be empty or missing.

    Files that a killed process left half-written are removed, and where work ends in an error before anything is
    written, a folder that was made for it.

    Raises:
        InputError: the folder holds something and `resume` is false, or something that is not of this kind, such as a
            pipe, or another process works in it.
    """
    folder = path_of(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: exists already and is no folder; choose another one")
    held = holding(folder)
    if held and not resume:
        raise InputError(f"{folder}: exists already; continue it with --resume or choose another folder")
    if held and mark not in held:
        raise InputError(f"{folder}: holds other files and no {mark}, so nothing to resume; choose another folder")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: no folder can be made there ({error.strerror}); choose another place") from None
    for path in folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():  # to open it would wait for ever
            raise InputError(f"{path}: a pipe or a device in a folder of coset; remove it")
    with locked(folder):
        for path in folder.iterdir():
            if path.name.endswith(_ASIDE):
                path.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            if made and not holding(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def holding(folder: Path) -> set[str]:
    """Names of what `folder` holds, without traces of processes that were killed before they wrote anything; none where
    it does not exist."""
    folder = path_of(folder)
    return {path.name for path in folder.iterdir() if not _is_scrap(path)} if folder.is_dir() else set()


def clear(folder: Path) -> None:
    """Remove what `holding` names; the folder itself stays."""
    for name in holding(folder):
        path = Path(folder) / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process."""
    path = Path(folder) / _LOCK
    if path.is_symlink():  # opening it would empty the file that it leads to
        raise InputError(f"{path}: a link, where coset keeps the file that locks this folder; remove it")
    try:
        file = path.open("w")
    except OSError as error:
        raise InputError(f"{folder}: no file can be made in it ({error.strerror})") from None
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{folder}: another process is working here; wait for it to end") from None
        yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for whoever holds the lock of the file at `path`, another process or thread, and hold it.

    Where the file cannot be made, or the file system or the platform has no locks, nobody waits: for work that several
    may do at once, but that one does for all.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def flush_below(folder: Path) -> None:
    """Flush `folder` and all folders below it, so that the files in them are there after a power cut."""
    for path in (Path(folder), *Path(folder).rglob("*")):
        if path.is_dir():
            _flush_folder(path)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left half-written in `folder` and below."""
    for path in Path(folder).rglob(f"*{_ASIDE}"):
        path.unlink(missing_ok=True)


def _is_scrap(path: Path) -> bool:
    """Whether a file is nothing but a trace of a process that was killed before it wrote anything."""
    return path.name == _LOCK or path.name.endswith(_ASIDE)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no flush of one
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
