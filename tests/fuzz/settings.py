"""Recipes, plans, methods and settings: what people write in TOML, JSON and after `--set`."""

from __future__ import annotations

import json
import re
import tomllib
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import mutate
import numpy as np
from judge import Ended, Fault, call, check_holds, command, digests

from coset.errors import InputError
from coset.experiments.changes import changed
from coset.experiments.recipe import load_recipe, shipped
from coset.methods import from_json, registered
from coset.planning.plan import Plan
from coset.schema import Table
from coset.settings import plain

TABLE = Table("user", 60, 8, frequencies=np.arange(60, 0, -1), attributes={"age": np.arange(60) % 4})
LARGE = 1 << 24
"""Bytes up to which a method that was taken is built, too."""

TOML_VALUES = (
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    '""',
    '"x"',
    '"full"',
    "[]",
    "[1]",
    '["a"]',
    "{}",
    "{a = 1}",
    "10" * 200,
    "[[[[]]]]",
)
WORDS = (
    "training.epochs=3",
    "training.learning_rate=1e-3",
    "model.embedding_dim=4",
    "split.kind=ordered",
    "training.optimizer=adam",
    "model.biases=false",
    "vocabulary.unseen=shared",
    "training.l2=0.1",
)
BUDGETS = (
    "2KB",
    "3KB",
    "25%",
    "50%",
    "1e400%",
    "-1",
    "0",
    "nan%",
    "inf",
    "1" * 400,
    "1" * 400 + "%",
    "1.5.2KB",
    "0x10",
    "",
    "KB",
    "100000000GB",
)
FEW = ("--methods", "hashing,quotient_remainder")
"""To plan in a quarter of the time."""
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class Settings:
    """Inputs from the words that are known, changed in a few places."""

    def __init__(self, folder: Path) -> None:
        draw = np.random.default_rng(0)
        rows = zip(draw.integers(0, 30, 400), draw.integers(0, 20, 400), draw.integers(1, 6, 400), strict=True)
        self.ratings = folder / "ratings.csv"
        self.ratings.write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
        planned = command("plan", self.ratings, *FEW, "--budget", "2KB", "--out", folder / "plan")
        if planned.code:
            raise Fault(f"no plan to begin with: {planned.err}")
        self.plan = json.loads((folder / "plan" / "plan.json").read_text())
        trained = self._train(folder / "trained")  # the kernels of the search are compiled once
        if trained.code:
            raise Fault(f"no training to begin with: {trained.err}")
        self.methods = [method.to_json() for kind in registered().values() for method in kind.examples(TABLE)]
        self.recipes = [entry.read_text() for entry in shipped().values()]

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One of the ways in, at random; those that train or plan cost more and come less often."""
        ways = (
            (self._method,) * 12
            + (self._plan,) * 6
            + (self._recipe,) * 6
            + (self._set,) * 6
            + (self._budget, self._run)
        )
        return draw.choice(ways)(draw, scratch)

    def _method(self, draw: Random, scratch: Path) -> str:
        given = mutate.tree(draw, draw.choice(self.methods))

        def read() -> Any:
            method = from_json(given)
            method.check(TABLE)
            size = method.bytes(TABLE)
            if 0 < size < LARGE:
                method.build(TABLE)
            return method

        end, method = call(read, (InputError,))
        if end == "taken":
            if from_json(json.loads(json.dumps(method.to_json()))) != method:
                raise Fault(f"{given!r} is read as {method!r}, whose JSON is read as something else")
            check_holds(given, plain(method))
        return end

    def _plan(self, draw: Random, scratch: Path) -> str:
        path = scratch / "plan.json"
        if draw.random() < 0.3:
            path.write_bytes(mutate.text(draw, json.dumps(self.plan, indent=1).encode()))
        else:
            path.write_text(json.dumps(mutate.tree(draw, self.plan)))
        end, plan = call(lambda: Plan.load(path), (InputError,), path.name)
        if end == "taken":
            if Plan.from_json(json.loads(json.dumps(plan.to_json()))) != plan:
                raise Fault(f"{path.read_text()} is read as {plan!r}, whose JSON is read as something else")
            check_holds(json.loads(path.read_text()), plain(plan))
            end = "refused" if self._train(scratch / "run", "--plan", path).code else end
        return end

    def _recipe(self, draw: Random, scratch: Path) -> str:
        text = draw.choice(self.recipes)
        if draw.random() < 0.5:
            lines = text.split("\n")
            chosen = draw.choice([at for at, line in enumerate(lines) if re.match(r"\s*\w+ *=", line)])
            lines[chosen] = lines[chosen].partition("=")[0] + "= " + draw.choice(TOML_VALUES)
            data = "\n".join(lines).encode()
        else:
            data = mutate.text(draw, text.encode())
        path = scratch / "mine.toml"
        path.write_bytes(data)
        end, recipe = call(lambda: load_recipe(path), (InputError,), path.name)
        if end == "taken":
            json.dumps(plain(recipe), allow_nan=False)
            told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
            told.pop("task", None)
            if isinstance(told.get("data"), str):
                told["data"] = {"source": told["data"]}
            found = plain(recipe)
            # In TOML the sections of a row stand beside its other fields.
            rows = [{**row, **row.get("sections", {})} for row in found["rows"]]
            check_holds(told, {**found, "rows": rows})
        return end

    def _set(self, draw: Random, scratch: Path) -> str:
        recipe = load_recipe(draw.choice(list(shipped())))
        words = [draw.choice(WORDS) for _ in range(draw.choice((1, 1, 2)))]
        if draw.random() < 0.8:
            words[0] = mutate.text(draw, words[0].encode()).decode(errors="replace")
        else:
            words[0] = words[0].partition("=")[0] + "=" + draw.choice(TOML_VALUES)
        end, recipe = call(lambda: changed(recipe, words), (InputError,))
        if end == "taken":
            said: dict[str, dict[str, Any]] = {}
            for word in words:
                name, _, value = word.partition("=")
                section, _, name = name.strip().partition(".")
                said.setdefault(section, {})[name] = _value(value.strip())
            told = json.loads(json.dumps(plain(recipe), allow_nan=False))
            check_holds(said, told)
        return end

    def _budget(self, draw: Random, scratch: Path) -> str:
        budget = draw.choice(BUDGETS)
        if draw.random() < 0.5:
            budget = mutate.text(draw, budget.encode()).decode(errors="replace")
        ended = command("plan", self.ratings, *FEW, f"--budget={budget}", "--json")
        if ended.code:
            return "refused"
        told = ended.json
        number, unit = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z%]*)\s*", budget).groups()  # type: ignore[union-attr]
        one = Fraction(told["about"]["full"]["bytes"], 100) if unit == "%" else UNITS[unit.lower()]
        if told["budget"] != int(Fraction(number) * one) or told["bytes"] > told["budget"]:
            raise Fault(f"a budget of {budget!r} is {told['budget']} bytes, and the plan takes {told['bytes']}")
        return "taken"

    def _run(self, draw: Random, scratch: Path) -> str:
        """A training with changed settings: whatever they are, an error leaves no half a run behind."""
        name, value = draw.choice(WORDS).split("=")
        word = f"{name}={draw.choice((value, *TOML_VALUES))}"
        words = [
            "--set",
            word,
            "--seed",
            draw.choice((0, 1, -1, 2**64, 2**31)),
            "--threads",
            draw.choice((1, 1, 0, -1, 10**8)),
        ]
        folder = scratch / "run"
        ended = self._train(folder, "--row", "full", *words)
        if ended.code and (left := [name for name in digests(folder) if not name.startswith(".")]):
            raise Fault(f"{words} is refused and leaves {left}: {ended.err}")
        if ended.code == 0 and not np.isfinite(ended.json["history"][-1]["val_mse"]):
            raise Fault(f"{words}: {ended.json['history']}")
        return "refused" if ended.code else "taken"

    def _train(self, folder: Path, *words: Any) -> Ended:
        return command("train", self.ratings, "--epochs", 1, "--engine", "plain", "--json", "--out", folder, *words)


def _value(text: str) -> Any:
    """What is written behind `=`: TOML, or else a text."""
    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    if len(found) > 1:
        raise Fault(f"{text!r} says more than a value, and is taken for {found['value']!r}")
    return found["value"]


def group(folder: Path) -> Settings:
    """The group of this file."""
    return Settings(folder)
