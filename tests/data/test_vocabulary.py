"""Vocabularies: order, lookup, and one file that keeps everything."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from coset.data.vocabulary import Vocabulary
from coset.errors import InputError

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.one_of(st.text(max_size=8), st.sampled_from(["", "\0", "a\0", "a", "\0\0", "é", "é", "\U0001f600"]))
columns = st.one_of(st.lists(numbers, min_size=1, max_size=40), st.lists(texts, min_size=1, max_size=40))


# --- building ----------------------------------------------------------------------------------------------


def test_ids_are_ordered_by_frequency_with_ties_by_raw_value() -> None:
    vocabulary = Vocabulary.build("movie", [5, 9, 9, 3, 5, 7])
    assert vocabulary.values.tolist() == [5, 9, 3, 7]
    assert vocabulary.frequencies.tolist() == [2, 2, 1, 1]
    assert (vocabulary.num_embeddings, len(vocabulary), vocabulary.unseen) == (4, 4, "error")


def test_text_ties_are_by_code_point() -> None:
    assert Vocabulary.build("x", ["b", "é", "Z", "a", "a"]).values.tolist() == ["a", "Z", "b", "é"]


def test_order_of_first_appearance() -> None:
    for raw in ([5, 9, 9, 3, 5], ["5", "9", "9", "3", "5"]):
        vocabulary = Vocabulary.build("movie", raw, order="first_appearance")
        assert [int(value) for value in vocabulary.values] == [5, 9, 3]
        assert vocabulary.frequencies.tolist() == [2, 2, 1]


@pytest.mark.parametrize("training", [[0, 1, 2], np.array([True, True, True, False, False])])
def test_frequencies_are_counted_on_training_rows(training: Any) -> None:
    vocabulary = Vocabulary.build("movie", [1, 2, 2, 3, 3], training=training)
    assert vocabulary.values.tolist() == [2, 1, 3]
    assert vocabulary.frequencies.tolist() == [2, 1, 0]
    vocabulary = Vocabulary.build("movie", [1, 2, 2, 3, 3], training=training, known="training")
    assert vocabulary.values.tolist() == [2, 1]


def test_the_shared_id_is_the_last_and_has_frequency_0() -> None:
    vocabulary = Vocabulary.build("movie", [1, 2, 2, 3], training=[0, 1, 2], known="training", unseen="shared")
    assert (vocabulary.num_embeddings, vocabulary.frequencies.tolist()) == (3, [2, 1, 0])
    assert vocabulary.lookup([3, 2, 99, 1]).tolist() == [2, 0, 2, 1]


@given(columns, st.data())
def test_build_agrees_with_a_counter(raw: list[Any], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(raw), max_size=len(raw)).filter(any))
    vocabulary = Vocabulary.build("x", raw, training=np.array(mask))
    counts = Counter(dict.fromkeys(raw, 0))
    counts.update(value for value, trains in zip(raw, mask, strict=True) if trains)
    expected = sorted(counts, key=lambda value: (-counts[value], value))
    assert vocabulary.values.tolist() == expected
    assert vocabulary.frequencies.tolist() == [counts[value] for value in expected]
    assert [expected[i] for i in vocabulary.lookup(raw)] == raw


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "popularity"}, ["unknown order", "'popularity'", "frequency"]),
        ({"known": "trainin"}, ["unknown known", "did you mean 'training'?"]),
        ({"unseen": "share"}, ["unknown unseen", "did you mean 'shared'?"]),
        ({"training": []}, ["no training rows"]),
    ],
)
def test_wrong_options(options: dict[str, Any], words: list[str]) -> None:
    options = {**options, **({"training": np.array([], dtype=np.int64)} if "training" in options else {})}
    with pytest.raises(InputError) as caught:
        Vocabulary.build("movie", [1, 2], **options)
    for word in ["movie", *words]:
        assert word in str(caught.value)


def test_wrong_contents() -> None:
    for values, frequencies, words in (
        ([1, 1], [1, 1], "twice"),
        (["a", "a"], [1, 1], "twice"),
        ([], [], "at least one"),
        ([1, 2], [1], "2 frequencies"),
        (["\ud800"], [1], "Unicode"),
    ):
        with pytest.raises(InputError, match=f"vocabulary 'movie'.*{words}"):
            Vocabulary("movie", values, frequencies)  # type: ignore[arg-type]


# --- lookup ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [[7, 5], np.array([7, 5], dtype=np.int32), torch.tensor([7, 5])])
def test_lookup_takes_any_array(raw: Any) -> None:
    ids = Vocabulary.build("movie", [5, 5, 7]).lookup(raw)
    assert ids.dtype == np.int64
    assert ids.tolist() == [1, 0]


def test_lookup_keeps_the_shape() -> None:
    vocabulary = Vocabulary.build("movie", ["a", "a", "b"])
    assert vocabulary.lookup([["b", "a"], ["a", "a"]]).tolist() == [[1, 0], [0, 0]]
    assert vocabulary.lookup([]).shape == (0,)
    assert Vocabulary.build("movie", [5]).lookup(np.zeros((0, 3), dtype=np.int64)).shape == (0, 3)


@pytest.mark.parametrize(
    ("known", "raw", "value"), [([5, 7], [5, 8, 9], "8"), (["a", "b"], ["a", "c"], "'c'"), ([5], [5, -(2**63)], "-9")]
)
def test_an_unseen_id_is_named_with_its_row_and_the_ways_out(known: Any, raw: Any, value: str) -> None:
    with pytest.raises(InputError) as caught:
        Vocabulary.build("movie", known).lookup(raw)
    place = "row 2 of the data (counted from 1)"
    for word in ["feature 'movie'", value, place, "unseen=shared", "leave such rows out"]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("known", "raw", "words"),
    [
        ([5, 7], ["5"], ["holds whole numbers", "text came", "'5'", "int()", "convert=True"]),
        (["5", "x"], [5], ["holds text", "whole numbers came", "5", "str()", "convert=True"]),
    ],
)
def test_ids_of_the_other_sort(known: Any, raw: Any, words: list[str]) -> None:
    vocabulary = Vocabulary.build("movie", known)
    with pytest.raises(InputError) as caught:
        vocabulary.lookup(raw)
    for word in ["feature 'movie'", *words]:
        assert word in str(caught.value)
    assert vocabulary.lookup(raw, convert=True).tolist() == [0]


def test_convert_takes_only_the_plain_decimal_form() -> None:
    vocabulary = Vocabulary.build("movie", [5], unseen="shared")
    assert vocabulary.lookup(["5", "05", "x"], convert=True).tolist() == [0, 1, 1]


def test_a_whole_number_is_one_id_however_it_is_written() -> None:
    vocabulary = Vocabulary.build("movie", [55])
    assert vocabulary.lookup(np.array([55.0])).tolist() == [0]
    assert vocabulary.lookup(["55.0", "5.5e+01"], convert=True).tolist() == [0, 0]
    with pytest.raises(InputError, match=r"feature 'movie'.*5\.5 is no whole number"):
        vocabulary.lookup(np.array([5.5]))


def test_unsigned_numbers_find_their_text() -> None:
    vocabulary = Vocabulary.build("movie", np.array([2**63, 7], dtype=np.uint64))
    assert vocabulary.values.tolist() == ["7", str(2**63)]
    for raw in ([7], [7, 2**63]):
        assert vocabulary.lookup(np.array(raw, dtype=np.uint64)).tolist() == list(range(len(raw)))


@given(st.lists(numbers, min_size=1, max_size=30), st.lists(numbers, max_size=30))
def test_lookup_of_numbers_agrees_with_a_dictionary(known: list[int], raw: list[int]) -> None:
    vocabulary = Vocabulary.build("x", known, unseen="shared")
    index = {value: place for place, value in enumerate(vocabulary.values.tolist())}
    assert vocabulary.lookup(raw).tolist() == [index.get(value, len(index)) for value in raw]


# --- attributes --------------------------------------------------------------------------------------------


CODES: dict[str, Any] = {"year": [0, 2, 1], "über genre": [300, 0, 0]}


def with_attributes(**changes: Any) -> Vocabulary:
    return replace(Vocabulary.build("movie", [5, 5, 7], unseen="shared"), attributes={**CODES, **changes})


def test_attributes_are_codes_of_every_id() -> None:
    vocabulary = with_attributes(small=np.array([1, 0, 1], dtype=np.uint8))
    assert {name: codes.tolist() for name, codes in vocabulary.attributes.items()} == {**CODES, "small": [1, 0, 1]}
    assert {codes.dtype for codes in vocabulary.attributes.values()} == {np.dtype(np.int64)}
    assert Vocabulary.build("movie", [5]).attributes == {}


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([0, 1], "3 whole numbers.*shape \\(2,\\)"),
        ([[0], [1], [2]], "shape"),
        ([0.0, 1.0, 2.0], "float64"),
        ([True, False, True], "bool"),
        ([0, -1, 2], "from 0 on.*-1"),
        (np.array([0, 1, 2**63], dtype=np.uint64), "from 0 on"),
    ],
)
def test_wrong_codes_are_refused(codes: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"vocabulary 'movie', attribute 'year'.*{words}"):
        with_attributes(year=codes)


def test_a_file_with_attributes(tmp_path: Path) -> None:
    vocabulary, path = with_attributes(), tmp_path / "v.safetensors"
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded == vocabulary
    assert list(loaded.attributes) == list(CODES)
    assert {codes.dtype for codes in loaded.attributes.values()} == {np.dtype(np.int64)}
    arrays = load_file(path)
    assert {name: of.dtype.name for name, of in arrays.items()} == {
        "values": "int64", "frequencies": "int64", "attribute.year": "uint8", "attribute.über genre": "uint16",
    }  # fmt: skip
    assert vocabulary.bytes == sum(of.nbytes for of in arrays.values()) == 16 + 24 + 3 + 6


@given(st.dictionaries(st.text(max_size=4), st.lists(st.integers(0, 2**40), min_size=3, max_size=3), max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_attributes_make_a_round_trip(tmp_path: Path, codes: dict[str, Any]) -> None:
    vocabulary = replace(Vocabulary.build("movie", ["a", "b", "c"]), attributes=codes)
    vocabulary.save(tmp_path / "v.safetensors")
    assert Vocabulary.load(tmp_path / "v.safetensors") == vocabulary


def test_the_version_says_whether_there_are_attributes(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    for vocabulary, version in ((Vocabulary.build("movie", [5]), 1), (with_attributes(), 2)):
        vocabulary.save(path)
        with safe_open(str(path), framework="numpy") as file:
            told = json.loads(file.metadata()["coset.vocabulary"])
        assert told["version"] == version
        assert ("attributes" in told) == (version == 2)


def test_equality_sees_attributes() -> None:
    assert with_attributes() == with_attributes()
    assert with_attributes() != Vocabulary.build("movie", [5, 5, 7], unseen="shared")
    assert with_attributes() != with_attributes(year=[0, 2, 2])
    assert with_attributes() != with_attributes(other=[0, 2, 2])


# --- saving ------------------------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns, st.sampled_from(["error", "shared"]), st.sampled_from(["frequency", "first_appearance"]), st.text())
def test_a_round_trip_is_identical(tmp_path: Path, raw: list[Any], unseen: Any, order: Any, name: str) -> None:
    vocabulary = Vocabulary.build(name, raw, unseen=unseen, order=order)
    path = tmp_path / "v.safetensors"
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded == vocabulary
    assert loaded.values.tolist() == vocabulary.values.tolist()
    assert list(map(type, loaded.values.tolist())) == list(map(type, vocabulary.values.tolist()))
    assert (loaded.name, loaded.unseen, loaded.order) == (name, unseen, order)
    assert np.array_equal(loaded.lookup(raw), vocabulary.lookup(raw))
    assert [path.name for path in tmp_path.iterdir()] == ["v.safetensors"]


def test_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    for raw, keys, size in (
        ([5, 5, 7], {"values", "frequencies"}, 32),
        (["é", ""], {"text", "offsets", "frequencies"}, 42),
    ):
        vocabulary = Vocabulary.build("movie", raw)
        vocabulary.save(path)
        arrays = load_file(path)
        assert set(arrays) == keys
        assert vocabulary.bytes == sum(array.nbytes for array in arrays.values()) == size


def test_equality_sees_every_field() -> None:
    base = Vocabulary.build("movie", [5, 5, 7])
    assert base == Vocabulary.build("movie", [7, 5, 5])
    for other in (
        Vocabulary.build("user", [5, 5, 7]),
        Vocabulary.build("movie", [5, 7, 7]),
        Vocabulary.build("movie", [5, 5, 7], unseen="shared"),
        Vocabulary.build("movie", [5, 5, 7], order="first_appearance"),
        Vocabulary.build("movie", ["5", "5", "7"]),
        "movie",
    ):
        assert base != other


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.safetensors"
    old = Vocabulary.build("movie", [1, 2])
    old.save(path)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        Vocabulary.build("movie", [3]).save(path)
    assert Vocabulary.load(path) == old
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such file"):
        Vocabulary.load(tmp_path / "none")


@pytest.mark.parametrize("raw", [[1, 2, 2], ["a", "bc"]])
def test_a_file_cut_off_anywhere(tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "v.safetensors"
    Vocabulary.build("movie", raw).save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"v\.safetensors: not readable as a safetensors file"):
            Vocabulary.load(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from([[1, 2, 2], ["a", "bc"]]))
def test_an_altered_file_never_causes_another_error(tmp_path: Path, data: st.DataObject, raw: Any) -> None:
    path = tmp_path / "v.safetensors"
    Vocabulary.build("movie", raw).save(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with suppress(InputError):
        Vocabulary.load(path)


def head(**changes: Any) -> dict[str, str]:
    plain = {"format": "coset.vocabulary", "version": 1, "name": "x", "unseen": "error", "order": "frequency"}
    return {"coset.vocabulary": json.dumps({**plain, **changes})}


INTS = np.array([4, 5])
BYTES = np.frombuffer(b"ab", dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "metadata", "words"),
    [
        ({"weight": INTS}, None, "not a vocabulary"),
        ({"weight": INTS}, {"format": "pt"}, "not a vocabulary"),
        ({"values": INTS, "frequencies": INTS}, {"coset.vocabulary": "[1]"}, "not a vocabulary"),
        ({"values": INTS, "frequencies": INTS}, {"coset.vocabulary": "{"}, "not readable"),
        ({"values": INTS, "frequencies": INTS}, head(version=3), "version 3.*upgrade"),
        ({"values": INTS, "frequencies": INTS}, head(version="new"), "damaged.*version"),
        ({"values": INTS, "frequencies": INTS}, head(version=2, attributes=["a"]), "damaged.*attribute"),
        ({"values": INTS, "frequencies": INTS}, head(version=2, attributes=3), "damaged"),
        (
            {"values": INTS, "frequencies": INTS, "attribute.a": INTS[:1]},
            head(version=2, attributes=["a"]),
            "damaged.*attribute 'a'",
        ),
        ({"values": INTS}, head(), "damaged.*frequencies"),
        ({"frequencies": INTS}, head(), "damaged.*text"),
        ({"values": INTS, "frequencies": INTS[:1]}, head(), "damaged.*frequencies"),
        ({"values": INTS.astype(np.float32), "frequencies": INTS}, head(), "damaged.*float32"),
        ({"values": INTS * 0, "frequencies": INTS}, head(), "damaged.*twice"),
        ({"values": INTS, "frequencies": INTS}, head(unseen="drop"), "damaged.*unseen"),
        ({"text": BYTES, "offsets": np.array([0, 2, 1]), "frequencies": INTS}, head(), "damaged.*offsets"),
        ({"text": BYTES, "offsets": np.array([0, 2, 1, 2]), "frequencies": INTS}, head(), "damaged.*offsets"),
        ({"text": BYTES, "offsets": np.array([0.0, 2.0]), "frequencies": INTS}, head(), "damaged.*offsets"),
        ({"text": BYTES + 100, "offsets": np.array([0, 2]), "frequencies": INTS[:1]}, head(), "damaged.*utf-8"),
    ],
)
def test_foreign_and_damaged_files(
    tmp_path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None, words: str
) -> None:
    path = tmp_path / "v.safetensors"
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(InputError, match=rf"v\.safetensors.*{words}"):
        Vocabulary.load(path)
