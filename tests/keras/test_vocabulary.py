from typing import Any

import numpy as np
import pytest

from coset.keras import Vocabulary


def test_the_id_is_the_place() -> None:
    found = Vocabulary(["b", "a"]).lookup([["a"], ["b"]])
    assert found.tolist() == [[1], [0]]
    assert found.dtype == np.int32
    assert Vocabulary([30, 10]).lookup(np.array([10, 30], dtype=np.int64)).tolist() == [1, 0]
    assert Vocabulary(np.array(["b", "a"])).lookup(np.array([b"a", b"b"])).tolist() == [1, 0]
    assert Vocabulary(["ä"]).lookup(np.array(["ä".encode()], dtype=object)).tolist() == [0]


def test_unseen_words_share_the_last_id() -> None:
    vocabulary = Vocabulary(["b", "a"], num_oov_indices=1)
    assert len(vocabulary) == 3
    assert vocabulary.lookup(["y", "a", "z"]).tolist() == [2, 1, 2]


def test_no_words_give_no_ids() -> None:
    assert Vocabulary(["a"]).lookup([]).shape == (0,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one word"),
        (["a", "a"], "'a' came more than once"),
        ([1, 2, 1], "1 came more than once"),
        (["a", 1], "all strings or all whole numbers, but 'a' and 1 came"),
        ([1, "a"], "all strings or all whole numbers"),
        ([1.5], "all strings or all whole numbers"),
        ([True, False], "all strings or all whole numbers"),
        ([2**31], "32 bits, but 2147483648 came; use strings"),
        ("abc", "expected a list of words"),
        (3, "expected a list of words"),
    ],
)
def test_bad_words(words: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)


@pytest.mark.parametrize("number", [-1, 2, True, None])
def test_bad_number_of_rows_for_unseen_words(number: Any) -> None:
    with pytest.raises(ValueError, match="num_oov_indices must be 0"):
        Vocabulary(["a"], number)


def test_words_of_another_sort() -> None:
    with pytest.raises(ValueError, match="'genre' holds strings such as 'a', but values of type int64 came"):
        Vocabulary(["a"], where="'genre'").lookup([1])
    with pytest.raises(ValueError, match="holds whole numbers such as 7"):
        Vocabulary([7]).lookup(["7"])
