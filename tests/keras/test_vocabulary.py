from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import WordVocabulary


def test_the_id_is_the_place() -> None:
    found = WordVocabulary(["b", "a"]).lookup([["a"], ["b"]])
    assert found.tolist() == [[1], [0]]
    assert found.dtype == np.int32
    assert WordVocabulary([30, 10]).lookup(np.array([10, 30], dtype=np.int64)).tolist() == [1, 0]
    assert WordVocabulary(np.array(["b", "a"])).lookup(np.array([b"a", b"b"])).tolist() == [1, 0]
    assert WordVocabulary(["ä"]).lookup(np.array(["ä".encode()], dtype=object)).tolist() == [0]


@pytest.mark.parametrize(
    "words",
    [
        np.array([b"b", "ä".encode()]),
        [b"b", "ä".encode()],
        np.array([b"b", "ä"], dtype=object),
        np.array(["b", "ä"], dtype=np.dtypes.StringDType()),
        [np.str_("b"), np.bytes_("ä".encode())],
        {"b": 0, "ä": 1}.keys(),
    ],
)
def test_strings_in_every_form(words: Any) -> None:
    vocabulary = WordVocabulary(words)
    assert vocabulary.words == ("b", "ä")
    assert all(type(word) is str for word in vocabulary.words)
    for asked in (words, ["b", "ä"], [b"b", "ä".encode()]):
        assert vocabulary.lookup(np.array([*asked, "b"], dtype=object)).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "words",
    [
        np.array([3.0, -1.0]),
        [3.0, -1],
        np.array([3, -1], dtype=object),
        np.array([3, -1], dtype=np.float32),
        [np.int64(3), np.float64(-1)],
    ],
)
def test_whole_numbers_in_every_form(words: Any) -> None:
    vocabulary = WordVocabulary(words)
    assert vocabulary.words == (3, -1)
    assert all(type(word) is int for word in vocabulary.words)
    for asked in (words, [3, -1], np.array([3.0, -1.0])):
        assert vocabulary.lookup(asked).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"holds whole numbers such as 3, but 1\.5 came"):
        vocabulary.lookup([1.5])


def test_tensors_are_words(backend: str) -> None:
    numbers = keras.ops.convert_to_tensor(np.array([3, 1], dtype=np.int32))
    assert WordVocabulary(numbers).words == WordVocabulary(list(numbers)).words == (3, 1)
    assert WordVocabulary([3, 1]).lookup(numbers).tolist() == [0, 1]
    if backend == "tensorflow":
        strings = keras.ops.convert_to_tensor(np.array(["b", "ä"], dtype=object), dtype="string")
        assert WordVocabulary(strings).words == WordVocabulary(list(strings)).words == ("b", "ä")
        assert WordVocabulary(["b", "ä"]).lookup(strings).tolist() == [0, 1]


def test_unseen_words_share_the_last_id() -> None:
    vocabulary = WordVocabulary(["b", "a"], num_oov_indices=1)
    assert len(vocabulary) == 3
    assert vocabulary.lookup(["y", "a", "z"]).tolist() == [2, 1, 2]


def test_no_words_give_no_ids() -> None:
    assert WordVocabulary(["a"]).lookup([]).shape == (0,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one word"),
        (["a", "a"], "'a' came more than once"),
        ([1, 2, 1], "1 came more than once"),
        (["a", 1], "all strings or all whole numbers, but 'a' and 1 came"),
        ([1, "a"], "all strings or all whole numbers"),
        ([1.5], "all strings or all whole numbers"),
        ([True, False], "all strings or all whole numbers, but True came"),
        (np.array([1.0, 2.5]), "all whole numbers, but 1 and 2.5 came"),
        ([float("nan")], "all whole numbers, but nan came"),
        (np.array(["a", None], dtype=object), "all whole numbers, but 'a' and None came"),
        (np.array([2**24 + 2], dtype=np.float32), "that float32 holds exactly, but 16777218.0 came"),
        ([b"a", "a"], "'a' came more than once"),
        ([1, 1.0], "1 came more than once"),
        ([b"\xff"], r"bytes of UTF-8, but b'\\xff' came; decode them first"),
        ({"a", "b"}, "words in an order, which gives their ids, but a set came; sort it"),
        (np.array([["a"], ["b"]]), r"not an array of shape \(2, 1\)"),
        (np.array(["2020-01-01"], dtype="datetime64[ns]"), "all strings or all whole numbers, but np.datetime64"),
        ([2**31], "32 bits, but 2147483648 came; use strings"),
        ("abc", "expected a list of words"),
        (3, "expected a list of words"),
    ],
)
def test_bad_words(words: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordVocabulary(words)


@pytest.mark.parametrize("number", [-1, 2, True, None])
def test_bad_number_of_rows_for_unseen_words(number: Any) -> None:
    with pytest.raises(ValueError, match="num_oov_indices must be 0"):
        WordVocabulary(["a"], number)


def test_words_of_another_sort() -> None:
    with pytest.raises(ValueError, match="'genre' holds strings such as 'a', but 1 came"):
        WordVocabulary(["a"], where="'genre'").lookup([1])
    with pytest.raises(ValueError, match="holds strings such as 'a', but nan came"):
        WordVocabulary(["a"], num_oov_indices=1).lookup(["a", float("nan")])
    with pytest.raises(ValueError, match="holds whole numbers such as 7, but '7' came"):
        WordVocabulary([7]).lookup(["7"])
