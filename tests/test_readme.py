"""The README and the guides say what the code and the committed results say."""

from __future__ import annotations

import doctest
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coset.data import DATASETS
from coset.experiments.recipe import load_recipe, shipped
from coset.methods import registered
from coset.report import comparison as report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("your-model", "fast-training", "ratings", "results")
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
RESULTS = sorted((ROOT / "recipes" / "results").glob("*/results.json"))


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "recipes" / "results" / name / "results.json").read_text("utf-8"))
    return found


def block(kind: str, name: str, page: str = GUIDES["results"]) -> str:
    found = re.search(rf"<!-- {kind}: {re.escape(name)} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found, f"no block {kind}: {name}"
    return found[1].strip()


def test_the_table_is_that_of_the_committed_results() -> None:
    whole = report.markdown(results("keras-example-corrected"))
    for page in (README, GUIDES["results"]):
        assert block("table", "keras-example-corrected", page) == whole.split("\n\n")[0].strip()


def test_the_table_of_a_hundred_times_fewer_bytes_is_that_of_the_committed_results() -> None:
    found = results("ml-1m-hundred")
    assert block("table", "ml-1m-hundred") == report.markdown(found).split("\n\n")[0].strip()
    told = report.contrasts(found, load_recipe("ml-1m-hundred").contrasts)
    assert block("contrasts", "ml-1m-hundred") == "\n".join(f"- {line}" for line in told)


@pytest.mark.parametrize("name", ["ml-1m-frontier", "ml-1m-planned"])
def test_the_verdicts_are_those_of_the_committed_results(name: str) -> None:
    found = results(name)
    assert block("verdicts", name) == report.best_compressed(found, found["budgets"]).strip()


def test_the_contrasts_are_those_of_the_committed_results() -> None:
    told = report.contrasts(results("ml-1m-methods"), load_recipe("ml-1m-methods").contrasts)
    assert block("contrasts", "ml-1m-methods") == "\n".join(f"- {line}" for line in told)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_committed_results_are_of_the_recipe_and_show_how_they_were_made(path: Path) -> None:
    found = json.loads(path.read_text("utf-8"))
    recipe = load_recipe(found["recipe"])
    assert found["recipe"] == path.parent.name
    assert (found["schema"], found["dataset"]) == (2, recipe.task.data.source)
    assert found["synthetic"] == found["dataset"].startswith("synthetic")
    assert all(row["seeds"] == list(range(max(recipe.seeds, 1 if found["synthetic"] else 3))) for row in found["rows"])
    training = recipe.task.read_training(found["protocol"]["training"])
    chosen = {name: getattr(training, name) for name in recipe.tune}
    assert training == replace(recipe.task.training, **chosen)
    assert {"host", "versions"} <= found.keys()
    assert (path.parent / "results.md").read_text("utf-8") == report.markdown(found)


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(README.splitlines()) < 130


@pytest.mark.parametrize("page", [README, GUIDES["your-model"], GUIDES["fast-training"]], ids=lambda page: page[:12])
def test_the_python_examples_run_and_print_what_they_say(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    codes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert all(len(code.strip().splitlines()) <= 18 for code in codes)
    code = "\n".join(codes)
    exec(code, {"__name__": "__main__"})  # in this process, which has torch already
    assert capsys.readouterr().out.split() == re.findall(r"print\(.*#\s*(\d+)", code)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=lambda path: path.stem)
def test_the_examples_of_a_group_of_methods_give_what_they_say(path: Path) -> None:
    assert path.read_text("utf-8").count("```pycon") >= 2
    failed, tried = doctest.testfile(str(path), module_relative=False)
    assert not failed
    assert tried > 3


def test_every_method_is_on_the_page_of_its_group() -> None:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "docs" / "methods").glob("*.md"))
    ours = [kind for kind in registered().values() if kind.__module__.startswith("coset.")]
    assert [kind.__name__ for kind in ours if f"`{kind.__name__}" not in text and f"{kind.__name__}(" not in text] == []


def test_every_command_is_one() -> None:
    from typer.main import get_command

    from coset.cli import app

    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    lines = re.findall(r"(?:\$ |`)(coset [^`\n#]+)", README + "".join(GUIDES.values()))
    assert len(lines) >= 6
    for line in lines:
        _, name, *words = shlex.split(line)
        assert name in commands, line
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        if words and name in ("compare", "train") and not {".", "/"} & set(words[0]):  # no path
            assert words[0] in {*shipped(), *DATASETS}, line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_and_picture_is_there(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)", path.read_text("utf-8")):
        found = path.parent / target if target else path
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
            assert anchor in [re.sub(r"[\s-]+", "-", heading) for heading in plain], f"{target}#{anchor}"
