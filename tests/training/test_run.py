"""A run in a folder: complete, interrupted, resumed, refused, loaded and evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset import ledger
from coset.data import Attributes, Ratings, load_ratings
from coset.data.encoded import look_up
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings
from coset.errors import InputError
from coset.files import locked
from coset.methods import method
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.tasks.ratings import Interactions, RatingsPart, RatingsTask, fingerprint
from coset.tasks.ratings.later import vocabularies
from coset.training import checkpoint, run
from coset.training.finished import FinishedRun
from coset.training.run import Options, Saving
from coset.training.spec import RunSpec


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv)


def execute(
    spec: Any, folder: Path, data: Any, *, after: Path | None = None, on_step: Any = None, **options: Any
) -> Any:
    told = {} if on_step is None else {"on_step": on_step}
    return run.execute(spec, folder, data, Options(**options), after=after, **told)


def spec_of(**choices: Any) -> RunSpec[Any, Any, Any, Any]:
    fields: dict[str, Any] = {
        "data": DataSettings("small.csv"),
        "split": SplitSettings(),
        "vocabulary": VocabularySettings(),
        "model": DotSettings(embedding_dim=4, biases=True, output="linear"),
        "methods": {"user": method("quotient_remainder", num_buckets=8)},
        "training": TrainingSettings(batch_size=128, epochs=4, learning_rate=0.01, schedule="cosine", l2=0.01),
        "seed": 3,
    }
    fields |= choices
    methods, seed = fields.pop("methods"), fields.pop("seed")
    return RunSpec(RatingsTask(**fields), methods, seed)


def evaluated(folder: Path, ratings: Ratings) -> dict[str, Any]:
    """Metrics of the finished run in a folder on any ratings."""
    found = FinishedRun.load(folder)
    rows = RatingsPart(Interactions(*look_up(ratings, *vocabularies(folder))))
    return dict(found.spec.task.evaluate(found.model, rows))


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt_after(epochs: int) -> Callable[[int], None]:
    """Raise once so many epochs are computed and saved."""
    left = [epochs]

    def on_step(steps: int) -> None:
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1

    return on_step


def bare(metrics: dict[str, Any]) -> dict[str, Any]:
    history = [{key: value for key, value in of.items() if key != "seconds"} for of in metrics["history"]]
    clock = ("digests", "peak_resident_bytes")
    return {name: of for name, of in metrics.items() if name not in clock} | {"history": history}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "model.safetensors", "model")[0]


def same_weights(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(ratings: Ratings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of `spec_of()`."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    execute(spec_of(), folder, ratings)
    return folder


def test_what_a_finished_run_holds(whole: Path, ratings: Ratings) -> None:
    names = {path.name for path in whole.iterdir()} - {".coset-lock"}
    assert names == {"run.json", "user.safetensors", "item.safetensors", "model.safetensors", "metrics.json"}
    metrics = json.loads((whole / "metrics.json").read_text())
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2, 3, 4]
    assert metrics["history"][-1]["val_mse"] < metrics["history"][0]["val_mse"]
    encoded = spec_of().task.encoded(ratings, 3)
    predicted = spec_of().task.components(spec_of().methods, encoded)
    assert metrics["parameters"] == ledger.parameters(predicted)
    assert metrics["bytes"] == ledger.inference_bytes(predicted)
    stored = sum(value.nbytes for name, value in weights(whole).items() if not name.endswith("_extra_state"))
    assert metrics["bytes"] == stored
    assert metrics["vocabulary_bytes"] == encoded.user.bytes + encoded.item.bytes


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_resuming_after_any_epoch_ends_at_the_same_bits(
    epochs: int, whole: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        execute(spec_of(), folder, ratings, on_step=interrupt_after(epochs))
    assert len(list(folder.glob("checkpoints/*"))) == min(epochs, 2)
    with pytest.raises(InputError, match="not finished"):
        FinishedRun.load(folder)
    told: list[int] = []
    torch.manual_seed(1234)  # of no influence
    found = execute(spec_of(), folder, ratings, resume=True, on_step=told.append)
    assert bare(found) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(folder, whole)
    assert not (folder / "checkpoints").exists()
    assert sum(told) == 4 * -(-2550 // 128)


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adam"}, {"optimizer": "adagrad", "shuffle": "buffer(50)"}, {"optimizer": "sgd"},
        {"optimizer": "row_wise_adagrad", "max_norm": 0.5, "warmup": 9}, {"optimizer": "adam", "evaluate_every": 30},
        {"optimizer": "lazy_adam", "dense_optimizer": "AdamW", "shuffle": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_goes_on_in_the_middle_of_an_epoch(training: dict[str, Any], ratings: Ratings, tmp_path: Path) -> None:
    spec = spec_of(training=replace(spec_of().task.training, batch_size=32, epochs=2, **training))
    whole = execute(spec, tmp_path / "whole", ratings)
    told = []
    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "run", ratings, saving=Saving(7, keep=9), on_step=interrupt_after(3))
    steps = [int(path.stem.partition("-")[2]) for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert max(steps) >= 35
    assert all(step % 7 == 0 or step % 30 == 0 for step in steps)
    found = execute(spec, tmp_path / "run", ratings, resume=True, saving=Saving(11), on_step=told.append)
    assert told[0] == max(steps)
    assert bare(found) == bare(whole)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_an_early_end_keeps_the_best_model(ratings: Ratings, tmp_path: Path) -> None:
    wild = replace(spec_of().task.training, optimizer="adagrad", learning_rate=0.5, l2=0.0, epochs=40, patience=3)
    found = execute(spec_of(training=wild), tmp_path / "run", ratings)
    errors = [of["val_mse"] for of in found["history"]]
    assert found["stopped_early"]
    assert found["reported"] == errors.index(min(errors)) == len(errors) - 4
    encoded = spec_of().task.encoded(ratings, 3)
    kept = evaluated(tmp_path / "run", ratings.select(encoded.split.validation))["mse"]
    assert kept == pytest.approx(min(errors), rel=1e-12)
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_event_files(ratings: Ratings, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = spec_of(training=replace(spec_of().task.training, batch_size=32, epochs=2))
    metrics = execute(spec, tmp_path / "run", ratings, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("validation/mse")]
    assert found == [(entry["step"], pytest.approx(entry["val_mse"])) for entry in metrics["history"]]
    assert [event.step for event in events.Scalars("train/loss")] == [50, 80, 100, 150, 160]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = execute(spec_of(), tmp_path / "again", ratings)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert bare(again) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(tmp_path / "again", whole)
    other = execute(spec_of(seed=4), tmp_path / "other", ratings)
    assert bare(other)["history"] != bare(again)["history"]


def test_resuming_a_finished_run_changes_nothing(whole: Path, ratings: Ratings) -> None:
    before = snapshot(whole)
    times = {path: path.stat().st_mtime_ns for path in whole.iterdir() if path.name != ".coset-lock"}
    kept = json.loads((whole / "metrics.json").read_text())
    assert execute(spec_of(), whole, ratings, resume=True) == {of: kept[of] for of in kept if of != "digests"}
    assert snapshot(whole) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_an_existing_folder_without_resume_is_refused_and_left_alone(whole: Path, ratings: Ratings) -> None:
    before = snapshot(whole)
    with pytest.raises(InputError, match="--resume") as caught:
        execute(spec_of(), whole, ratings)
    assert str(whole) in str(caught.value)
    assert snapshot(whole) == before


def test_a_folder_of_other_things_is_refused(tmp_path: Path, ratings: Ratings) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        execute(spec_of(), tmp_path, ratings)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
    with pytest.raises(InputError, match="exists already"):
        execute(spec_of(), tmp_path / "diary.txt", ratings)
    assert (tmp_path / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("choices", "key"),
    [
        ({"seed": 4}, r"spec\.seed is 3 there and 4 now"),
        ({"training": TrainingSettings(batch_size=128, epochs=5)}, r"spec\.training\."),
        ({"training": replace(spec_of().task.training, l2=0.5)}, r"spec\.training\.l2 is 0\.01 there and 0\.5 now"),
        ({"model": DotSettings(embedding_dim=5, biases=True, output="linear")}, r"spec\.model\.embedding_dim"),
        ({"methods": {"user": method("quotient_remainder", num_buckets=9)}}, r"spec\.methods\.user\.num_buckets"),
        ({"methods": {}}, r"spec\.methods\.user"),
        ({"split": SplitSettings(validation=0.2)}, r"spec\.split\.validation"),
        ({"vocabulary": VocabularySettings(frequencies="all")}, r"spec\.vocabulary\.frequencies"),
    ],
)
def test_resuming_with_other_choices_is_refused_and_the_choice_named(
    choices: dict[str, Any], key: str, whole: Path, ratings: Ratings
) -> None:
    before = snapshot(whole)
    with pytest.raises(InputError, match=key) as caught:
        execute(spec_of(**choices), whole, ratings, resume=True)
    assert str(whole) in str(caught.value)
    assert snapshot(whole) == before


def test_resuming_on_other_data_is_refused(whole: Path, ratings: Ratings) -> None:
    values = ratings.ratings.copy()
    values[17] = 6 - values[17] if values[17] != 3 else 1
    before = snapshot(whole)
    with pytest.raises(InputError, match="data"):
        execute(spec_of(), whole, replace(ratings, ratings=values), resume=True)
    with pytest.raises(InputError, match="data"):
        execute(spec_of(), whole, ratings.select(slice(0, 2999)), resume=True)
    assert snapshot(whole) == before


def test_fingerprints_tell_data_apart() -> None:
    base = Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 3])
    others = [
        Ratings("x", ["ab", "c", "d"], [1, 2, 1], [1, 2, 3]),
        Ratings("x", ["a", "bc", "d"], [1, 2, 2], [1, 2, 3]),
        Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 4]),
        Ratings("x", ["bc", "a", "d"], [2, 1, 1], [2, 1, 3]),
    ]
    hashes = {fingerprint(of)["sha256"] for of in (base, *others)}
    assert len(hashes) == 5
    assert fingerprint(base) == fingerprint(Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 3]))


def known(**columns: Any) -> Attributes:
    return Attributes([1, 2], columns or {"year": [1999, 2001]})


def test_fingerprints_cover_attributes_where_there_are_any() -> None:
    base = Ratings("x", [1, 2, 1], [1, 2, 2], [1, 2, 3])
    plain = fingerprint(base)
    assert plain.keys() == {"rows", "sha256"}
    assert plain["sha256"] == "5f8c8e5a4a10e39439510a19a0ff1745c7e91593f394cbf56f6d040f82df7349"
    others = [
        replace(base, user_attributes=known()),
        replace(base, item_attributes=known()),
        replace(base, item_attributes=known(year=[1999, 2002])),
        replace(base, item_attributes=known(year=["1999", "2001"])),
        replace(base, item_attributes=known(age=[1999, 2001])),
        replace(base, item_attributes=known(year=[1999, 2001], age=[1, 2])),
        replace(base, item_attributes=Attributes([1, 3], {"year": [1999, 2001]})),
    ]
    found = [fingerprint(of) for of in others]
    assert len({of["attributes"] for of in found}) == len(found)
    assert {of["sha256"] for of in found} == {plain["sha256"]}
    first = replace(base, item_attributes=known(year=[1, 2], age=[3, 4]))
    second = replace(base, item_attributes=known(age=[3, 4], year=[1, 2]))
    assert fingerprint(first) == fingerprint(second)


def test_a_run_keeps_the_attributes_of_its_ids(ratings: Ratings, tmp_path: Path) -> None:
    about = Attributes(np.arange(60), {"decade": np.arange(60) // 10, "parity": np.arange(60) % 2})
    execute(spec_of(), tmp_path / "run", replace(ratings, user_attributes=about))
    finished = FinishedRun.load(tmp_path / "run")
    numbered = vocabularies(tmp_path / "run")
    user, item = (finished.model.embeddings.tables[of.name].table for of in numbered)
    assert item.attributes is None
    assert user.attributes is not None
    assert user.attributes["decade"].tolist() == (numbered[0].values // 10).tolist()
    assert user.attributes["parity"].tolist() == (numbered[0].values % 2).tolist()
    assert evaluated(tmp_path / "run", ratings)["mse"] > 0  # of which nothing more need be known
    with pytest.raises(InputError, match=r"data\.attributes"):
        execute(spec_of(), tmp_path / "run", ratings, resume=True)


def test_attributes_that_no_method_asks_for_change_nothing(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    about = Attributes(np.arange(60), {"parity": np.arange(60) % 2})
    found = execute(spec_of(), tmp_path / "run", replace(ratings, user_attributes=about))
    assert same_weights(tmp_path / "run", whole)
    without = bare(json.loads((whole / "metrics.json").read_text()))
    assert bare(found) == without | {"vocabulary_bytes": without["vocabulary_bytes"] + 60}


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign"])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    damage: str, whole: Path, ratings: Ratings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        execute(spec_of(), folder, ratings, on_step=interrupt_after(2))
    saved = folder / "checkpoints" / "checkpoint-000000000040.safetensors"
    data = bytearray(saved.read_bytes())
    if damage == "truncate":
        data = data[:-5]
    elif damage == "flip":
        data[-5] ^= 4
    else:
        data = bytearray((folder / "user.safetensors").read_bytes())
    saved.write_bytes(data)
    with pytest.warns(UserWarning, match=r"checkpoint-000000000040\.safetensors.*the one before it is used"):
        found = execute(spec_of(), folder, ratings, resume=True)
    assert bare(found) == bare(json.loads((whole / "metrics.json").read_text()))
    assert same_weights(folder, whole)


def test_a_folder_in_use_is_refused(ratings: Ratings, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another process"):
        execute(spec_of(), tmp_path, ratings, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [".coset-lock"]


def test_a_spec_in_json_and_back() -> None:
    spec = spec_of(model=DotSettings(embedding_dim=8, low=-1.0, high=1.0))
    written = json.loads(json.dumps(spec.to_json()))
    assert RunSpec.from_json("ratings", written) == spec
    written["training"]["learning_rat"] = 1
    with pytest.raises(InputError, match="learning_rate"):
        RunSpec.from_json("ratings", written)


def test_a_finished_run_predicts_as_it_was_trained(whole: Path, ratings: Ratings) -> None:
    encoded = spec_of().task.encoded(ratings, 3)
    assert vocabularies(whole) == (encoded.user, encoded.item)
    errors = evaluated(whole, ratings.select(encoded.split.validation))
    before = torch.random.get_rng_state()
    last = FinishedRun.load(whole).metrics["history"][-1]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert errors["mse"] == pytest.approx(last["val_mse"], rel=1e-12)
    assert errors["mae"] == pytest.approx(last["val_mae"], rel=1e-12)


def test_an_unseen_id_is_named(whole: Path) -> None:
    later = Ratings("later", [0, 987654], [0, 1], [3, 4])
    with pytest.raises(InputError, match=r"'user'.*987654"):
        evaluated(whole, later)


@pytest.mark.parametrize("name", ["user.safetensors", "item.safetensors", "model.safetensors", "metrics.json"])
def test_a_finished_run_with_a_damaged_file_is_refused(name: str, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        FinishedRun.load(folder)


def test_no_run_at_all(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="no run"):
            FinishedRun.load(folder)


def test_a_run_without_its_spec_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "run.json").write_text('{"schema": 3}')
    with pytest.raises(InputError, match=r"run\.json"):
        FinishedRun.load(folder)


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (-10.0, 10.0), (2.5, 3.0)])
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_the_output_scales_to_the_range_of_the_training_part(
    output: Any, low: float, high: float, ratings: Ratings, tmp_path: Path
) -> None:
    stretched = replace(ratings, ratings=(low + (ratings.ratings - 1) / 4 * (high - low)).astype(np.float32))
    spec = spec_of(model=DotSettings(embedding_dim=2, biases=True, output=output))
    execute(spec, tmp_path / "run", stretched)
    model = FinishedRun.load(tmp_path / "run").model
    assert (model.low, model.high) == pytest.approx((low, high))
    users, items = torch.meshgrid(torch.arange(60), torch.arange(40), indexing="ij")
    predicted = model.predict(users.reshape(-1), items.reshape(-1))
    assert predicted.min().item() >= low - 1e-5 * abs(low)
    assert predicted.max().item() <= high + 1e-5 * abs(high)
    assert abs(predicted.mean().item() - stretched.ratings.mean()) < 0.2 * (high - low)


def test_the_range_is_that_of_the_training_part_alone(tmp_path: Path) -> None:
    """Ordered, the last rows validate; ratings there lie outside of what training has seen."""
    n = 100
    values = np.where(np.arange(n) < 85, 1 + np.arange(n) % 3, 50).astype(np.float32)
    ratings = Ratings("drift", np.arange(n) % 7, np.arange(n) % 5, values)
    execute(spec_of(split=SplitSettings(kind="ordered"), methods={}), tmp_path / "run", ratings)
    model = FinishedRun.load(tmp_path / "run").model
    assert (model.low, model.high) == (1.0, 3.0)


def test_training_ratings_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    n = 100
    values = np.where(np.arange(n) < 85, 3, 5).astype(np.float32)
    ratings = Ratings("flat", np.arange(n) % 7, np.arange(n) % 5, values)
    spec = spec_of(split=SplitSettings(kind="ordered"), methods={})
    with pytest.raises(InputError, match=r"flat.*all training ratings are 3"):
        execute(spec, tmp_path / "run", ratings)


def test_ids_of_later_data_share_one_row_where_the_run_says_so(ratings: Ratings, tmp_path: Path) -> None:
    later = replace(ratings.select(slice(0, 3)), users=np.array([10**9, 10**9 + 1, int(ratings.users[2])]))
    execute(spec_of(), tmp_path / "strict", ratings)
    with pytest.raises(InputError, match=r"feature 'user': the raw id 1000000000 at row 1.*unseen=shared"):
        evaluated(tmp_path / "strict", later)
    execute(spec_of(vocabulary=VocabularySettings(unseen="shared")), tmp_path / "shared", ratings)
    user, _ = vocabularies(tmp_path / "shared")
    assert user.num_embeddings == len(user.values) + 1
    assert user.lookup(later.users)[:2].tolist() == [len(user.values)] * 2
    assert evaluated(tmp_path / "shared", later)["mse"] > 0


def test_choices_edited_after_training_are_not_believed(whole: Path, tmp_path: Path, ratings: Ratings) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"mult"', '"add"'))
    assert (folder / "run.json").read_text() != text
    with pytest.raises(
        InputError, match=r"run\.json: edited since the run was trained.*operation is 'add' there and 'mult' in"
    ):
        FinishedRun.load(folder)


def test_the_artifact_says_what_it_is(whole: Path, ratings: Ratings) -> None:
    header = checkpoint.load(whole / "model.safetensors", "model")[1]
    assert RunSpec.from_json(header["run"]["task"], header["run"]["spec"]) == spec_of()
    assert header["run"]["data"] == fingerprint(ratings)
    assert header["versions"]["torch"] == torch.__version__


def test_a_checkpoint_of_another_run_is_not_continued(ratings: Ratings, tmp_path: Path) -> None:
    for seed in (3, 4):
        with pytest.raises(Interrupted):
            execute(spec_of(seed=seed), tmp_path / str(seed), ratings, on_step=interrupt_after(2))
    for saved in (tmp_path / "4" / "checkpoints").iterdir():
        shutil.copy(saved, tmp_path / "3" / "checkpoints")
    with pytest.raises(InputError, match=r"spec\.seed is 4 there and 3 now"):
        execute(spec_of(seed=3), tmp_path / "3", ratings, resume=True)


@pytest.mark.parametrize("text", ["{}", "[]", '{"history": []}', "null"])
def test_damaged_metrics_are_refused(text: str, whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "metrics.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.json.*train again"):
        execute(spec_of(), folder, ratings, resume=True)
    with pytest.raises(InputError, match=r"metrics\.json"):
        FinishedRun.load(folder)


def test_a_finished_run_without_its_model_is_not_finished(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        execute(spec_of(), folder, ratings, resume=True)


@pytest.mark.parametrize("model", [{"low": 1.0}, {"high": 5.0}, {"high": -1.0}, {"low": 7.0}])
def test_one_end_of_the_range_may_be_given(model: dict[str, float], ratings: Ratings) -> None:
    task = spec_of(model=DotSettings(embedding_dim=2, **model)).task  # type: ignore[arg-type]
    assert task.components({}, task.encoded(ratings, 3))


def test_the_scale_of_ratings_changes_nothing_but_the_scale_of_errors(ratings: Ratings, tmp_path: Path) -> None:
    hundred = replace(ratings, ratings=(ratings.ratings - 1) * 32 - 7)  # a power of two: the same digits
    spec = spec_of()
    one, other = (execute(spec, tmp_path / str(at), of)["history"] for at, of in enumerate((ratings, hundred)))
    for small, large in zip(one, other, strict=True):
        assert large["val_mse"] == pytest.approx(32**2 * small["val_mse"], rel=1e-3)
