"""The card of an artifact that holds the tables of a checkpoint."""

from __future__ import annotations

from coset.artifact.format import MANIFEST, OTHERS, TABLES
from coset.documents import Json
from coset.sizes import format_size


def card_of_tables(manifest: Json) -> str:
    """The text of `README.md`."""
    size, model = manifest["bytes"], manifest["model"]
    lines = [f"# {manifest['title']}", ""]
    by = f"coset {manifest['versions']['coset']}"
    lines += [f"The tables of `{model['checkpoint']}`, which {by} made smaller and did not train.", ""]
    lines += ["## Size", "", "| tensor | rows | dim | method | bytes | share of the original | error |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, of in manifest["tables"].items():
        relative = manifest["fits"][name]["relative"]
        error = "–" if relative is None else f"{relative:.2%}"
        lines.append(
            f"| {_cell(model['tensors'][name])} | {of['ids']:,} | {of['dim']} | {of['module']['method']['method']} | "
            f"{of['bytes']:,} | {100 * of['bytes'] / of['full_bytes']:.3g} % | {error} |"
        )
    weighed = "each id weighted by how often it occurs" if model["weighted"] else "all ids alike"
    lines += [
        "",
        f"The tables take {size['model']:,} bytes ({format_size(size['model'])}), of {size['full']:,} before; "
        f"`{TABLES}` has {size['tables_file']:,}. Errors are root mean square differences over the root mean square "
        f"number, {weighed}. How much worse the model is by them is not known here: measure it on your data.",
        "",
        f"`{OTHERS}` has the {size['others']:,} bytes of all other tensors as they were.",
        "",
        "## Use",
        "",
        "```python",
        "import coset",
        "",
        'coset.load_compressed(model, "this folder")  # a model of the class that the checkpoint is of',
        "```",
        "",
        "`coset expand FOLDER --out model.safetensors` makes an ordinary checkpoint again. "
        f"`{MANIFEST}` says all that a reader needs; docs/artifact.md of coset has the format.",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
