"""Downloading one file from its publisher: checked by its checksum, and kept wholly or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from coset.errors import InputError
from coset.files import expanded, replacing

TIMEOUT = 20.0
"""Seconds without an answer, or without a byte, after which a download is given up."""

_QUIET = 2.0  # seconds before progress is shown
_CHUNK = 1 << 16


class DownloadFailed(InputError):
    """A file could not be fetched, or differs from the published one; nothing was kept."""


def cache_folder() -> Path:
    """Where downloads are kept: `$COSET_CACHE`, else `$XDG_CACHE_HOME/coset`, else `~/.cache/coset`."""
    if given := os.environ.get("COSET_CACHE"):
        return expanded(given)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return expanded(base) / "coset"
    return Path.home() / ".cache" / "coset"


def download(url: str, path: Path, md5: str) -> None:
    """Fetch `url` to `path`; progress goes to stderr when it takes longer than two seconds.

    Args:
        url: address of the file.
        path: where to put it; its folder is made if needed. The file appears only when complete and correct.
        md5: checksum that the publisher gives, in hexadecimal.

    Raises:
        DownloadFailed: no connection, an interrupted transfer, a wrong checksum, or a folder that cannot be
            written to.
    """
    try:
        with replacing(path) as aside, urlopen(url, timeout=TIMEOUT) as answer, aside.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or -1)
            digest = hashlib.md5(usedforsecurity=False)
            received = 0
            progress = _Progress(path.name, expected)
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                progress.show(received)
            progress.close()
            if 0 <= received < expected:
                raise DownloadFailed(f"{url}: the transfer stopped after {received} of {expected} bytes; try again")
            if digest.hexdigest() != md5:
                raise DownloadFailed(
                    f"{url}: the {received} bytes that came have checksum {digest.hexdigest()}, "
                    f"expected {md5}; try again"
                )
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        if isinstance(error, HTTPError):
            error.close()
        reason = error.reason if type(error) is URLError else error
        raise DownloadFailed(f"{url}: the download failed ({reason})") from None


class _Progress:
    """One line on stderr, rewritten in a terminal; silent for the first two seconds."""

    def __init__(self, name: str, expected: int) -> None:
        self.name = name
        self.total = f" of {expected / 1e6:.1f}" if expected > 0 else ""
        self.next = time.monotonic() + _QUIET
        self.shown = False

    def show(self, received: int) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (0.5 if sys.stderr.isatty() else 5.0)
        start, end = ("\r", "") if sys.stderr.isatty() else ("", "\n")
        print(
            f"{start}downloading {self.name}: {received / 1e6:.1f}{self.total} MB",
            end=end,
            file=sys.stderr,
            flush=True,
        )
        self.shown = True

    def close(self) -> None:
        if self.shown and sys.stderr.isatty():
            print(file=sys.stderr)
