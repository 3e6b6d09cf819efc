"""Artifacts of every method and some storages, and what torch says of them, for an environment without torch.

$ python -m tests.runtime.sample FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from tests.artifact.cases import ITEMS, USERS, model_of, variants, vocabulary, write


def make(folder: Path) -> None:
    """Write them to a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    users, items = (vocabulary(name, n).values.tolist() for name, n in (("user", USERS), ("item", ITEMS)))
    pairs = torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)
    for storage in ("as the table", "bfloat16", "8 bits by column", "3 bits by block"):
        for number, method in enumerate(variants(storage)):
            name = f"{storage}, {number}, {method.name}"
            write(folder / name, model := model_of({"item": method}, number))
            found = model.predict(*pairs).reshape(USERS, ITEMS).tolist()
            said = {"users": users, "items": items, "predictions": found}
            (folder / name / "expected.json").write_text(json.dumps(said))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
