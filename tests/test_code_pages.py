"""What commands print fits any code page, and what they write is UTF-8 whatever the locale."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coset.cli import app
from coset.cli.output import print_in_any_code_page

NAME = "wörter-模型"  # a folder's, of which some fits one page and some another

TINY = ("--dim", 2, "--set", "model.bottom=[4]", "--set", "model.top=[4]")
COMMANDS = [
    ("--help",),
    ("plan", "--help"),
    ("inspect", "r.csv"),
    ("plan", "r.csv", "--budget", "50%", "--dim", 4),
    ("train", "r.csv", "--dim", 4, "--epochs", 1, "--out", NAME),
    ("evaluate", NAME),
    ("inspect", NAME),
    ("predict", NAME, "--part", "validation", "--out", f"{NAME}.csv"),
    ("compress", NAME, "--budget", "80%", "--out", "small"),
    ("export", NAME, "--out", f"{NAME}-exported"),
    ("inspect", "m.safetensors"),
    ("compress", "m.safetensors", "--budget", "50%", "--out", "tables"),
    ("expand", "tables", "--out", "back.safetensors"),
    ("prepare", "log.csv", "clicks", "--schema", "s.toml"),
    ("inspect", "clicks"),
    ("train", "clicks", *TINY, "--out", f"{NAME}-clicks"),
    ("inspect", f"{NAME}-clicks"),
    ("evaluate", f"{NAME}-clicks"),
    ("predict", f"{NAME}-clicks"),
    ("compress", f"{NAME}-clicks", "--budget", "60%", "--out", "small-clicks"),
    ("compare", "r.csv", "--dim", 4, "--epochs", 1, "--methods", "hashing", "--seeds", 2, "--out", "c"),
]  # fmt: skip
BAD = [
    ("prepare", f"{NAME}.csv", "o"), ("predict", NAME), ("train", "r.csv", "--epochs", 0),
    ("inspect", f"{NAME}.csv"), ("inspect", os.fsdecode(b"\xff.csv")),
]  # fmt: skip


@pytest.fixture
def written(coset: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes, bytes]]:
    """`written(encoding, *words)` runs a command whose stdout and stderr are files in an encoding."""

    def run(encoding: str, *words: object) -> tuple[int, bytes, bytes]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = coset(*words).code
            out, err = (stream.detach().getvalue() for stream in streams if stream.flush() is None)
        return code, out, err

    return run


@pytest.fixture
def ratings(small_csv: Path, tmp_path: Path) -> Path:
    """A few ratings, in the folder that commands run in."""
    path = tmp_path / "r.csv"
    path.write_text("\n".join(small_csv.read_text(encoding="utf-8").splitlines()[:300]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path: Path) -> None:
    """A few clicks, with their schema, in that folder."""
    rows = [f"{n % 3 == 0:d},{n},и{n * n % 7},a|ö" for n in range(60)]
    (tmp_path / "log.csv").write_text("y,цена,item,tags\n" + "\n".join(rows) + "\n", encoding="utf-8")
    schema = 'label = "y"\nnumeric = ["цена"]\ncategorical = ["item"]\nlists = ["tags"]\n'
    (tmp_path / "s.toml").write_text(schema, encoding="utf-8")


@pytest.mark.usefixtures("ratings", "log")
def test_every_command_prints_in_ascii(written: Any, tmp_path: Path) -> None:
    save_file({"цена.embedding": np.random.default_rng(0).normal(size=(200, 4)).astype("f")}, "m.safetensors")
    for words in COMMANDS:
        code, out, err = written("ascii", *words)
        text = (out + err).decode("ascii")
        assert code == 0, text
        for name in (NAME, "цена"):
            text = text.replace(name.encode("ascii", "backslashreplace").decode(), "")
        assert not re.findall(r"\\[ux][0-9a-f]{2,}", text), (words, text)  # all signs of coset's own have a plain one
    assert {words[0] for words in COMMANDS} - {"--help"} == {of.callback.__name__ for of in app.registered_commands}
    assert b"+/-" in out
    assert "±" in (tmp_path / "c" / "results.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("ratings")
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_errors_and_json_print_in_every_code_page(written: Any, encoding: str) -> None:
    for words in BAD:
        code, out, err = written(encoding, *words)
        assert (code, out) == (2, b"")
        assert err.decode(encoding).startswith("coset: ")
        assert err.count(b"\n") == 1
    code, out, err = written(encoding, "inspect", "r.csv", "--json")
    assert code == 0
    assert json.loads(out.decode(encoding))
    assert "299 ratings from 1 to 5" in written(encoding, "inspect", "r.csv")[1].decode(encoding)


def test_signs_that_fit_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"cp1252": "2 × 3 – 4 - ± \\u0431", "ascii": "2 x 3 - 4 - +/- \\u0431", "utf-8": "2 × 3 – 4 − ± б"}
    for encoding, expected in shown.items():
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        print_in_any_code_page()
        print("2 × 3 – 4 − ± б", end="")
        stream.flush()
        assert stream.detach().getvalue().decode(encoding) == expected


def test_a_choice_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr(sys, "stdout", stream)
    print_in_any_code_page()
    assert stream.errors == "replace"


def test_the_real_command_in_a_file_of_cp1252() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "coset.cli", "compare", "--help"],  # which loads no torch, and draws boxes as tables do
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True, check=False, timeout=100,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, b"")
    assert "Train every row with every seed" in run.stdout.decode("cp1252")
