"""Other levels: zero points gain where numbers lie off 0, and next to nothing where they lie about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tools.levels import main


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = torch.Generator().manual_seed(0)
    numbers = torch.randn(500, 4, generator=draw)
    save_file({"about": numbers, "few": torch.ones(3, 4), "line": torch.ones(500)}, tmp_path / "about.safetensors")
    save_file({"off": numbers + 5}, tmp_path / "off.safetensors")
    main([str(tmp_path / "about.safetensors"), str(tmp_path / "off.safetensors"), "--bits", "4", "2", "--json"])
    rows = {(Path(row["file"]).stem, row["bits"]): row for row in json.loads(capsys.readouterr().out)}
    for bits, within in ((4, 1.3), (2, 1.05)):
        about, off = rows["about", bits], rows["off", bits]
        assert about["about_zero"] / within < about["anywhere"] < 1.01 * about["about_zero"]
        assert off["anywhere"] < off["about_zero"] / 4
        gain = about["half_steps"] / about["about_zero"]
        assert gain < 0.95 if bits > 2 else gain == 1
    main([str(tmp_path / "off.safetensors"), "--bits", "3"])
    assert "about zero" in capsys.readouterr().out


def test_a_file_without_arrays(tmp_path: Path) -> None:
    save_file({"few": torch.ones(3, 4)}, tmp_path / "few.safetensors")
    with pytest.raises(SystemExit, match="holds no array of 64 rows"):
        main([str(tmp_path / "few.safetensors")])
