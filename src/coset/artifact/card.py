"""The card of an artifact: a page for people, made of its manifest."""

from __future__ import annotations

from coset.artifact.format import MANIFEST, TABLES, VOCABULARIES
from coset.documents import Json
from coset.sizes import format_size


def card(manifest: Json) -> str:
    """The text of `README.md`."""
    model, data, size, scores = manifest["model"], manifest["data"], manifest["bytes"], manifest["scores"]
    lines = [f"# {manifest['title']}", ""]
    lines += [f"A {model['kind']} model that coset {manifest['versions']['coset']} trained and exported.", ""]
    lines += ["## Size", "", "| table | ids | dim | method | bytes | share of float32 rows |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, of in manifest["tables"].items():
        share = f"{100 * of['bytes'] / of['full_bytes']:.3g} %"
        method = of["module"]["method"]["method"]
        lines.append(f"| {_cell(name)} | {of['ids']:,} | {of['dim']} | {method} | {of['bytes']:,} | {share} |")
    lines += [
        "",
        f"The model takes {size['model']:,} bytes ({format_size(size['model'])}), of {size['full']:,} with a row of "
        f"floats for each id and otherwise the same. With their headers, `{TABLES}` has {size['tables_file']:,} "
        f"bytes and `{VOCABULARIES}` {size['vocabularies_file']:,}, of which {size['vocabularies']:,} are ids.",
        "",
        "## Quality",
        "",
    ]
    spread = scores["spread"]
    seeds = f" mean ± deviation over seeds {', '.join(map(str, scores['seeds']))} |" if spread else ""
    lines += [f"| metric | this model |{seeds}", "|---|---|---|" if spread else "|---|---|"]
    for name, value in scores["metrics"].items():
        if value is None:
            continue
        more = f" {spread[name]['mean']:.4f} ± {spread[name]['std']:.4f} |" if spread and name in spread else ""
        lines.append(f"| {_cell(name)} | {value:.4f} |{more}")
    rows = scores["rows"]
    alone = "" if spread else f" It is one training, with seed {scores['seed']}: the spread over seeds is not known."
    lines += ["", f"Trained on {rows['training']:,} rows, measured on {rows['validation']:,} others.{alone}", ""]
    licence = data["licence"] or "not stated; that of the data holds for what was learned from them"
    prints = ", ".join(f"{key} `{value}`" for key, value in data["fingerprint"].items())
    lines += ["## Data", "", f"{data['dataset']}. Licence: {licence}.", "", f"Fingerprint: {prints}.", ""]
    lines += ["## Use", "", "Without torch, by `coset-runtime`, which needs NumPy alone:", "", "```python",
              "import coset_runtime", "", 'model = coset_runtime.load("this folder")', *_examples(manifest), "```", "",
              "In torch:", "", "```python", "import coset", "",
              'model = coset.load_artifact("this folder").model', "```", "",
              f"`{MANIFEST}` says all that a reader needs; docs/artifact.md of coset has the format.", ""]  # fmt: skip
    return "\n".join(lines)


def _examples(manifest: Json) -> list[str]:
    model, first = manifest["model"], manifest["examples"]
    if model["kind"] != "dot":
        return []
    user, item = (repr(first[model[role]["vocabulary"]]) for role in ("user", "item"))
    return [f"model.recommend({user}, k=10)", f"model.score({user}, {item})"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
