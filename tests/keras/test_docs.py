"""What docs/keras.md says, runs."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "keras.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a model is saved
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        if not block.startswith("# tensorflow") or backend == "tensorflow":
            exec(block, names)
    assert 0 < float(names["rating"][0, 0]) < 5
    assert names["user_embedding"].packed
    assert type(names["embedding"]).__name__ == "Embedding"
    assert type(names["layer"]).__name__ == "QREmbedding"


def test_every_link_of_the_page_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
