"""Delimited text: two readers that agree, and errors that name line and column."""

from __future__ import annotations

import csv
import io
import os
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.data.columns import Columns
from coset.data.files import DataFile
from coset.data.ids import BLANKS, plain
from coset.data.rows import read_rows
from coset.data.sources import Wanted, delimited
from coset.errors import InputError

Read = tuple[np.ndarray, ...]


def read_delimited(
    data: bytes, where: str, columns: Columns | None = None, separator: str | None = None, header: bool | None = None
) -> Read:
    """Users, items, ratings and attributes of a text."""
    file = DataFile(where, lambda: io.BytesIO(data))
    rows = read_rows([file], Wanted(columns or Columns(), separator, header))
    return rows.users, rows.items, rows.ratings, *rows.attributes


def as_lists(read: Read) -> list[list[object]]:
    return [column.tolist() for column in read]


@pytest.mark.parametrize(
    "data",
    [
        b"user,item,rating\n1,10,5\n2,20,3.5\n",
        b"user,item,rating\r\n1,10,5\r\n2,20,3.5\r\n",
        b"user,item,rating\n1,10,5\n2,20,3.5",
        b"\xef\xbb\xbfuser,item,rating\n1,10,5\n2,20,3.5\n",
        b"\nuser,item,rating\n\n1,10,5\n\n2,20,3.5\n\n\n",
        b"user, item, rating\n1, 10, 5\n2 , 20,+3.5 \n",
        b'"user","item","rating"\n"1","10","5"\n2,20,3.5\n',
        b"user\titem\trating\n1\t10\t5\n2\t20\t3.5\n",
        b"user;item;rating\n1;10;5\n2;20;3.5\n",
        b"user|item|rating\n1|10|5\n2|20|3.5\n",
        b"sep=|\r\nuser|item|rating\r\n1|10|5\r\n2|20|3.5\r\n",
        b"user  item rating\n  1   10\t5\n2  20  3.5  \n",
        b"1 10 5 881250949\n2   20 3.5 891717742\n",
        b"user::item::rating\n1::10::5\n2::20::3.5\n",
        b"rating,x,item,user\n5,,10,1\n3.5,,20,2\n",
        b"user,item,rating,note\n1,10,5,\n2,20,3.5,\n",
        b'user,item,rating,note\n1,10,5,"a\nb, c"\n2,20,3.5,\n',
        b"1::10::5::978300760\n2::20::3.5::978302109\n",
        b"1::10::5\n2::20::3.5\n",
        b"1\t10\t5\t881250949\n2\t20\t3.5\t891717742\n",
    ],
)
def test_every_layout_gives_the_same_rows(data: bytes) -> None:
    users, items, ratings = read_delimited(data, "f")
    assert (users.tolist(), items.tolist(), ratings.tolist()) == ([1, 2], [10, 20], [5.0, 3.5])
    assert [column.dtype.str[1:] for column in (users, items, ratings)] == ["i8", "i8", "f4"]


def test_a_quote_within_a_value_is_a_character_and_ends_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'user,item,rating\n1,5" disk,5\n' + b"2,20,3\n" * 40 + b'3,"a ""b""\nc",4\n'
    expected = as_lists(read_delimited(data, "f.csv"))
    assert expected[1][::41] == ['5" disk', 'a "b"\nc']
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 20)
    monkeypatch.setattr("coset.data.sources.text.LONGEST", 100)
    assert as_lists(read_delimited(data, "f.csv")) == expected
    with pytest.raises(InputError, match="a row of more than 0 MiB, from byte 0 on"):
        read_delimited(b"x" * 300, "f.csv")


@pytest.mark.parametrize(
    "data",
    [
        b'user,item,note,rating\n1,"say ""x"", then",5" nail,5\n2,b,"two\nlines",4\n',  # a quote that opens nothing
        b'user,item,title,text,rating\n1,a,"x\ny","z\nw",4\n2,b,"","u\nv",3\n',  # two values of several lines in a row
        b"user,item,rating\n1,a,5\r2,b,4\r\n",  # two sorts of ends
        b"\n\nuser,item,rating\n1,a,5\n",
        b'sep=;\nuser;item;rating\n1;"a\n;b";5\n2;"";4\n',
        b'user\titem\trating\n1\t"a"b\t5\n',  # refused
        b"user,item,rating\n1,a,5\n\n\xef\xbb\xbf2,b,4\n",
    ],
)
def test_both_readers_and_any_chunks_give_the_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> object:
        try:
            return as_lists(read_delimited(data, "f.csv"))
        except InputError as error:
            return str(error)

    whole = told()
    for size in (3, 7, 20, 40):
        monkeypatch.setattr("coset.data.sources.text.CHUNK", size)
        assert told() == whole
    monkeypatch.setattr(delimited, "_read_fast", lambda *_: None)
    assert told() == whole


@pytest.mark.parametrize(
    ("data", "words"), [(b"sep=;\n", "the file is empty"), (b"sep=\xe9\nuser", "one ASCII character")]
)
def test_a_line_that_says_the_separator_alone(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_delimited(data, "f.csv")


def test_text_ids_stay_text() -> None:
    users, items, _ = read_delimited("user,item,rating\nzoë,007,5\nbob,7,3\n".encode(), "f.csv")
    assert users.tolist() == ["zoë", "bob"]
    assert items.tolist() == ["007", "7"]


def test_item_ids_with_a_colon_in_double_colon_files() -> None:
    assert read_delimited(b"1::10:3::5::9\n2::20::4::9\n", "f")[1].tolist() == ["10:3", "20"]


def test_quotes_in_files_of_grouplens_are_ordinary_characters() -> None:
    data = b'1::"a::5::9\n2::b"::4::9\n'
    assert read_delimited(data, "f", separator="::", header=False)[1].tolist() == ['"a', 'b"']


def test_the_separator_of_a_shell() -> None:
    assert len(read_delimited(b"user\titem\trating\n1\t2\t3\n", "f", separator="\\t")[0]) == 1


def test_attributes_follow_the_ratings_and_may_be_empty() -> None:
    data = b'user,year,item,rating,note\n1,1999,10,5,"a, b"\n2,2001,20,3,\n2, 1999 ,30,4,c\n'
    columns = Columns(user_attributes=("note",), item_attributes=("year", "note"))
    assert as_lists(read_delimited(data, "f.csv", columns)[3:]) == [
        ["a, b", "", "c"],
        [1999, 2001, 1999],
        ["a, b", "", "c"],
    ]
    years = read_delimited(data.replace(b"2001", b""), "f.csv", Columns(item_attributes=("year",)))[3]
    assert years.tolist() == ["1999", "", "1999"]


HEAD = b"userId,movieId,rating,timestamp\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["empty", "header"]),
        (b" \n\n", ["empty"]),
        (HEAD, ["no ratings"]),
        (HEAD + b"\n\n", ["no ratings"]),
        (HEAD + b"1,10,5,0\n2,20,five,0\n", ["line 3", "'rating'", "'five'", "not a number"]),
        (HEAD + b"1,10,5,0\n\n2,20,3;5,0\n", ["line 4", "'rating'", "'3;5'"]),
        (HEAD + b"1,10,5,0\n2,20,,0\n", ["line 3", "'rating'", "missing"]),
        (HEAD + b"1,10,nan,0\n", ["line 2", "'rating'", "'nan'", "finite"]),
        (HEAD + b"1,10,-Inf,0\n", ["line 2", "'rating'", "'-Inf'", "finite"]),
        (HEAD + b"1,10,1e39,0\n", ["line 2", "'rating'", "'1e39'", "float32"]),
        (HEAD + b"1,10,1_0,0\n", ["line 2", "'rating'", "'1_0'"]),
        (HEAD + b"1,10,5,0\n,20,5,0\n", ["line 3", "'userId'", "missing"]),
        (HEAD + b'1,10,5,0\n1,"",5,0\n', ["line 3", "'movieId'", "missing"]),
        (HEAD + b"1,  ,5,0\n", ["line 2", "'movieId'", "missing"]),
        (HEAD + b"1,10,5,0\n2,20,5\n", ["line 3", "3 fields", "expected 4", "userId, movieId"]),
        (HEAD + b"1,10,5,0\n2,20,5,0,9\n", ["line 3", "5 fields", "expected 4"]),
        (HEAD + b"1,10,5,0\n2;20;5;0\n", ["line 3", "1 field ", "expected 4", "seems to be ';'"]),
        (HEAD + b'1,10,5,0\n2,"20,5,0\n3,1,1,1\n', ["line 3", "quotes"]),
        (HEAD + b'1,"a\nb",5,0\n2,20,x,0\n', ["line 4", "'rating'", "'x'"]),
        (HEAD + b"1,10,5,0\n2,caf\xe9,5,0\n", ["line 3", "UTF-8", "0xe9", "iconv"]),
        (b"\xff\xfeu\x00s\x00\x00", ["UTF-16", "save it as UTF-8"]),
        (b"\x1f\x8b\x08\x00", ["gzip", "cut off or damaged"]),
        (b"1,1193,5,978300760\n", ["line 1", "'1,1193,5,978300760'", "header line such as"]),
        (b"A1B,0000013714,5.0,1365811200\n", ["line 1", "'A1B,0000013714,5.0,1365811200'", "header line such as"]),
        (b"alice,matrix,5,again,5\n", ["'alice'", "--user", "if the first line holds values", "user,item,rating"]),
        (b"label,a,u,i\n0,1,x,y\n", ["'label'", "--user", "if it is a click log", "coset prepare"]),
        (b"1 3:1 17:0.5\n", ["'17:0.5'", "if it is a click log", "coset prepare"]),
        (b"\t".join([b"1"] * 13 + [b"ab"] * 27) + b"\n", ["28 more", "if it is a click log"]),
        (b"user;item;rating\n1;2;4\n2;2;3,5\n", ["line 3", "'3,5'", "comma", "write 3.5"]),
        (b"user,item,rating,rating\n1,10,5,3\n", ["two columns", "'rating'", "rename"]),
        (b"user::user::item::rating\n1::2::10::5\n", ["two columns", "'user'", "rename"]),
        (b"a,b,c\n1,2,3\n", ["'a', 'b', 'c'", "--user"]),
        (b"1::10::5::9\n2::20::5\n", ["line 2", "3 fields", "expected 4 (user, movie, rating, timestamp)"]),
        (b"1::10::5::9\n2:20:5:9\n", ["line 2", "1 field "]),
        (b"1::10::5::9\n2::20::x::9\n", ["line 2", "'rating'", "'x'"]),
        (b"1::10::5::9\n2::::4::9\n", ["line 2", "'movie'", "missing"]),
        (b"1\t10\t5\t9\n2\t20\t\t9\n", ["line 2", "'rating'", "missing"]),
    ],
)
def test_bad_input_is_one_sentence_with_file_line_and_column(data: bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_delimited(data, "my file.csv")
    message = str(caught.value)
    assert message.startswith("my file.csv")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("separator", "words"),
    [
        (";", ["';'", "single column", "seems to be ','"]),
        ("::", ["single column", "seems to be ','"]),
        (",,", ["one ASCII character or '::'", "',,'"]),
        ("é", ["one ASCII character"]),
        ("", ["one ASCII character"]),
    ],
)
def test_a_wrong_separator_is_told(separator: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_delimited(HEAD + b"1,10,5,0\n", "f.csv", separator=separator)
    for word in ["f.csv", *words]:
        assert word in str(caught.value)


def test_the_wrong_separator_in_a_file_of_grouplens() -> None:
    with pytest.raises(InputError) as caught:
        read_delimited(b"1,10,5,0\n", "ratings.dat", separator="::", header=False)
    for word in ["ratings.dat, line 1", "1 field ", "'::'", "expected 4", "seems to be ','"]:
        assert word in str(caught.value)


def test_the_careful_reader_gives_up_on_no_good_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data = HEAD + b"1,10,5,0\n2,20,3.5,\n"
    fast = read_delimited(data, "f")
    monkeypatch.setattr(delimited, "_read_fast", lambda *_: None)
    assert as_lists(read_delimited(data, "f")) == as_lists(fast)


cell = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=True).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6),
)


@settings(max_examples=1000 if os.environ.get("COSET_EVERY_EXAMPLE") else 75, deadline=None)
@given(st.lists(st.tuples(cell, cell, cell, cell), max_size=6), st.sampled_from([",", "\t", ";", "|"]), st.data())
def test_whatever_csv_writes_is_read_back_or_refused_alike(
    rows: list[tuple[str, ...]], separator: str, draw: st.DataObject
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerows([("note", "user", "item", "rating"), *rows])
    data = file.getvalue().encode()
    form = delimited.form_of(data, "f", Wanted(Columns(item_attributes=("note", "user")), separator))
    lines, below = delimited._cut_header(data, form)
    fast = delimited._read_fast(pl, below, form)
    try:
        careful = delimited._read_carefully(pl, below, form, lines + 1)
    except InputError:
        assert fast is None
        return
    notes, users, items, ratings = ([row[at].strip(BLANKS) for row in rows] for at in range(4))
    for columns in (careful, fast or careful):
        for column, expected in zip(columns, (users, items, ratings, notes, users), strict=True):
            assert column.fill_null("").to_list() == expected
    with patch("coset.data.sources.text.CHUNK", draw.draw(st.integers(1, len(data)))):
        try:
            found = read_delimited(data, "f", Columns(item_attributes=("note",)), separator)
        except InputError:
            return
    kept = [at for at in range(len(rows)) if users[at] or items[at] or ratings[at]]
    for column, expected in zip((found[0], found[1], found[3]), (users, items, notes), strict=True):
        assert list(map(str, column.tolist())) == [plain(expected[at]) for at in kept]
    assert found[2].tolist() == [np.float32(float(ratings[at])) for at in kept]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_cause_another_error(tail: bytes) -> None:
    for head in (b"", HEAD, b"1::2::3::4\n", b"1\t2\t3\t4\n"):
        try:
            users, items, ratings = read_delimited(head + tail, "f")
        except InputError:
            pass
        else:
            assert len(users) == len(items) == len(ratings) > 0
            assert np.isfinite(ratings).all()
