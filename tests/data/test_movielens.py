"""MovieLens: the search order, damaged archives, the download, and the real data."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coset.data import download as fetching
from coset.data import files, finding, movielens
from coset.data.loading import load_ratings
from coset.data.movielens import DataNotFound, available, load_movielens, locate
from coset.data.packed import Stream
from coset.data.ratings import read_ratings
from coset.data.settings import SplitSettings
from coset.errors import InputError

MINI = "".join(
    f"{user}::{10 * movie}::{1 + (user * movie) % 5}::9783{movie}\n" for user in (1, 2) for movie in (1, 2, 3)
)


def mini_zip(member: str = "ml-1m/ratings.dat", text: str = MINI) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/README", "mini")
        archive.writestr(member, text)
    return file.getvalue()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty $COSET_DATA and an empty cache; the published set is the mini one; no network."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("COSET_DATA", str(data))
    monkeypatch.setenv("COSET_CACHE", str(cache))
    mini = replace(
        movielens.PUBLISHED["movielens-1m"],
        rows=6,
        users=2,
        movies=3,
        url="http://127.0.0.1:9/ml-1m.zip",
        md5=hashlib.md5(mini_zip_once()).hexdigest(),
    )
    monkeypatch.setitem(movielens.PUBLISHED, "movielens-1m", mini)
    return data, cache


_once: list[bytes] = []


def mini_zip_once() -> bytes:
    """The mini archive, made once, as it holds the time it was made."""
    if not _once:
        _once.append(mini_zip())
    return _once[0]


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["ml-1m.zip", "ml-1m/ratings.dat", "ratings.dat"])
def test_a_local_copy_is_found(places: tuple[Path, Path], place: int, name: str) -> None:
    assert not available("movielens-1m")
    path = put(places[place] / name, mini_zip_once() if name.endswith("zip") else MINI.encode())
    assert available("movielens-1m")
    assert locate("movielens-1m") == path
    data = load_ratings("movielens-1m")
    assert (data.name, data.source, data.item_name) == ("movielens-1m", str(path), "movie")
    assert data.items.tolist() == [10, 20, 30, 10, 20, 30]


def test_coset_data_comes_before_the_cache(places: tuple[Path, Path]) -> None:
    for place in places:
        put(place / "ml-1m.zip", mini_zip_once())
    assert locate("movielens-1m") == places[0] / "ml-1m.zip"


def test_the_tab_separated_set(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(movielens.PUBLISHED["movielens-100k"], rows=6, users=2, movies=3)
    monkeypatch.setitem(movielens.PUBLISHED, "movielens-100k", small)
    put(places[0] / "ml-100k" / "u.data", MINI.replace("::", "\t").encode())
    assert load_movielens("movielens-100k").items.tolist() == [10, 20, 30, 10, 20, 30]


def test_a_copy_of_other_data_is_told_by_its_counts(places: tuple[Path, Path]) -> None:
    path = put(places[0] / "ml-1m.zip", mini_zip(text=MINI + "3::10::5::9\n"))
    with pytest.raises(InputError) as caught:
        load_movielens("movielens-1m")
    for word in [str(path), "7 ratings of 3 users and 3 movies", "has 6 of 2 and 3", "GroupLens", "path"]:
        assert word in str(caught.value)


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="unknown dataset 'movielens-2m'"):
        load_movielens("movielens-2m")


def test_the_published_numbers() -> None:
    one, hundred = movielens.PUBLISHED["movielens-1m"], movielens.PUBLISHED["movielens-100k"]
    assert (one.rows, one.users, one.movies) == (1_000_209, 6_040, 3_706)
    assert (hundred.rows, hundred.users, hundred.movies) == (100_000, 943, 1_682)
    assert one.md5 == "c4d9eecfca2ab87c1945afe126590906"
    assert hundred.md5 == "0e33842e24a9c977be4e0107933c0723"
    assert one.url == "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
    assert hundred.url == "https://files.grouplens.org/datasets/movielens/ml-100k.zip"


def test_the_newer_layout_has_a_header(tmp_path: Path) -> None:
    text = "userId,movieId,rating,timestamp\n1,10,0.5,9\n2,20,4.5,9\n"
    path = put(tmp_path / "ml-latest.zip", mini_zip("ml-latest/ratings.csv", text))
    assert load_ratings(path).ratings.tolist() == [0.5, 4.5]


def test_the_ratings_nearest_to_the_top_are_read(tmp_path: Path) -> None:
    put(tmp_path / "old" / "ratings.dat", b"9::9::1::1\n")
    put(tmp_path / "ratings.dat", MINI.encode())
    assert len(read_ratings(tmp_path)) == 6


def test_grouplens_files_in_a_folder_or_one_level_down_come_before_others(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b" / "ratings.dat", MINI.encode())
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "u.data").mkdir()
    (tmp_path / "file").touch()
    assert load_ratings(tmp_path).files == ("a/b/ratings.dat",)
    put(tmp_path / "z" / "ratings.dat", MINI.encode())
    assert load_ratings(tmp_path).files == ("z/ratings.dat",)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(finding.os, "listdir", refuse)
    with pytest.raises(InputError, match=r"not readable \(Permission denied\)"):
        load_ratings(tmp_path)


def test_zip_without_ratings(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zip", mini_zip("ml-1m/LICENSE"))
    with pytest.raises(InputError, match=r"f\.zip: holds no ratings.*ratings\.dat, u\.data"):
        load_ratings(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: the folder holds no file"):
        load_ratings(tmp_path / "empty")


def test_a_wrong_row_inside_a_zip_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zip", mini_zip(text=MINI + "3::10::five::9\n"))
    expected = f"{path}/ml-1m/ratings.dat, line 7, column 'rating': the rating 'five'"
    with pytest.raises(InputError, match=re.escape(expected)):
        load_ratings(path)


def test_a_wrong_separator_inside_a_zip_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zip", mini_zip(text=MINI.replace("::", ",")))
    with pytest.raises(InputError, match=r"ratings\.dat, line 1: 1 field separated by '::', expected 4.*','"):
        load_ratings(path)


def test_an_archive_cut_off_anywhere(tmp_path: Path) -> None:
    whole = mini_zip_once()
    for length in range(len(whole)):
        path = put(tmp_path / "f.zip", whole[:length])
        with pytest.raises(InputError, match=r"f\.zip: not readable as a zip archive.*fetch it again"):
            load_ratings(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_altered_archive_gives_the_same_data_or_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(mini_zip_once())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = put(tmp_path / "f.zip", bytes(content))
    try:
        found = read_ratings(path)
    except InputError:
        pass
    else:
        assert (found.users.tolist(), found.items.tolist()) == ([1, 1, 1, 2, 2, 2], [10, 20, 30, 10, 20, 30])


def test_a_member_with_a_wrong_checksum(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("ratings.dat", MINI)
    content = file.getvalue().replace(b"1::10::2", b"1::10::3")
    with pytest.raises(InputError, match="CRC"):
        load_ratings(put(tmp_path / "f.zip", content))


def announcing(size: int, text: str, method: int) -> bytes:
    """An archive of one member whose size is announced wrongly, in both places that say it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("ratings.dat", text)
    content = bytearray(file.getvalue())
    directory = content.index(b"PK\x01\x02")
    for at in (22, directory + 24):
        content[at : at + 4] = size.to_bytes(4, "little")
    return bytes(content)


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", [-1, -len(MINI), 1, 1 << 20])
def test_a_member_of_another_size_than_announced(tmp_path: Path, change: int, method: int) -> None:
    path = put(tmp_path / "f.zip", announcing(len(MINI) + change, MINI, method))
    with pytest.raises(InputError, match=r"f\.zip: not readable as a zip archive.*damaged"):
        load_ratings(path)


def test_a_member_that_unpacks_to_far_more_than_announced_is_not_unpacked(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zip", announcing(100, MINI + "\n" * 50_000_000, zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="not readable as a zip archive"):
            read_ratings(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "f.zip", mini_zip_once())
    monkeypatch.setattr(files, "LARGEST", len(MINI))
    assert len(load_ratings(path)) == 6
    monkeypatch.setattr(files, "LARGEST", len(MINI) - 1)
    with pytest.raises(InputError) as caught:
        load_ratings(path)
    sizes = [f"{len(MINI)} bytes when unpacked", f"at most {len(MINI) - 1}"]
    for word in [f"{path}/ml-1m/ratings.dat", *sizes, "unpack it and load the file by its path"]:
        assert word in str(caught.value)


def test_a_member_that_announces_terabytes(tmp_path: Path) -> None:
    assert files.LARGEST == 2**32
    content = bytearray(announcing(2**32 - 1, MINI, zipfile.ZIP_DEFLATED))
    directory = content.index(b"PK\x01\x02")
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + (2**42).to_bytes(8, "little")
    name_end = directory + 46 + len("ratings.dat")
    content[directory + 30 : directory + 32] = len(extra).to_bytes(2, "little")
    content[name_end:name_end] = extra
    end = content.index(b"PK\x05\x06")
    content[end + 12 : end + 16] = (end - directory).to_bytes(4, "little")
    with pytest.raises(InputError, match=r"ratings\.dat: 4,398,046,511,104 bytes when unpacked, but coset reads"):
        load_ratings(put(tmp_path / "f.zip", bytes(content)))


def test_too_little_memory_is_told_as_that(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise MemoryError

    paths = [put(tmp_path / name, mini_zip_once()) for name in ("f.zip", "data/ml-1m.zip")]
    text = put(tmp_path / "f.csv", b"user,item,rating\n1,2,3\n")
    monkeypatch.setattr(Stream, "read", refuse)
    for name, path in [(paths[0], paths[0]), ("movielens-1m", paths[1]), (text, text)]:
        with pytest.raises(InputError, match=re.escape(f"{path}: too large for the memory")):
            load_ratings(name)


# --- the download, from a server on this machine -----------------------------------------------------------


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes, int | None, int], None]]:
    """Serve these bytes as the mini set, announcing `length` of them, with this status."""
    servers: list[ThreadingHTTPServer] = []

    def start(content: bytes, length: int | None = None, status: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/ml-1m.zip"
        published = replace(movielens.PUBLISHED["movielens-1m"], url=url)
        monkeypatch.setitem(movielens.PUBLISHED, "movielens-1m", published)

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Serve = Callable[..., None]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("**/*")) if folder.exists() else []


def test_download_into_the_cache(places: tuple[Path, Path], serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(mini_zip_once())
    data = load_movielens("movielens-1m")
    assert len(data) == 6
    assert data.source == str(places[1] / "ml-1m.zip")
    assert left_in(places[1]) == ["ml-1m.zip"]
    assert available("movielens-1m")
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_stderr(
    places: tuple[Path, Path], serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_QUIET", 0.0)
    serve(mini_zip_once())
    load_movielens("movielens-1m")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"downloading ml-1m\.zip: 0\.0 of 0\.0 MB", err)


@pytest.mark.parametrize(
    ("content", "length", "status", "words"),
    [
        (b"another file", None, 200, ["12 bytes", "checksum"]),
        (b"short", 1000, 200, ["stopped after 5 of 1000 bytes"]),
        (b"", None, 404, ["404", "Not Found"]),
    ],
)
def test_a_failed_download_leaves_nothing(
    places: tuple[Path, Path], serve: Serve, content: bytes, length: int | None, status: int, words: list[str]
) -> None:
    serve(content, length, status)
    with pytest.raises(DataNotFound) as caught:
        load_ratings("movielens-1m")
    ways = ["COSET_DATA", "ml-1m.zip", str(places[1] / "ml-1m.zip"), "network"]
    for word in [*ways, *words]:
        assert word in str(caught.value)
    assert left_in(places[1]) == []


def test_no_network_names_the_three_ways_out(places: tuple[Path, Path]) -> None:
    with pytest.raises(DataNotFound) as caught:
        load_ratings("movielens-1m")
    for word in ["movielens-1m", "COSET_DATA", str(places[1] / "ml-1m.zip"), "network"]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written(places: tuple[Path, Path], serve: Serve) -> None:
    serve(mini_zip_once())
    put(places[1], b"a file where the folder should be")
    with pytest.raises(DataNotFound, match="COSET_DATA"):
        load_movielens("movielens-1m")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"COSET_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/coset"),
        ({"HOME": "/c"}, "/c/.cache/coset"),
    ],
)
def test_the_cache_folder(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COSET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert fetching.cache_folder() == Path(expected)


# --- the real data -----------------------------------------------------------------------------------------


def test_the_real_movielens_1m(movielens_zip: Path) -> None:
    data = load_ratings("movielens-1m")
    assert data.source == str(movielens_zip)
    assert len(data) == 1_000_209
    assert len(np.unique(data.users)) == 6_040
    assert len(np.unique(data.items)) == 3_706
    assert np.bincount(data.ratings.astype(int))[1:].tolist() == [56_174, 107_557, 261_197, 348_971, 226_310]
    assert (data.users[0], data.items[0], data.ratings[0]) == (1, 1193, 5.0)
    assert (np.diff(data.users) >= 0).all()
    assert (data.synthetic, data.range) == (False, (1.0, 5.0))
    assert data.times is None


def test_the_real_movielens_1m_split_by_time(movielens_zip: Path) -> None:
    data = load_ratings("movielens-1m", time=True)
    assert data.times is not None
    split = SplitSettings("time").split(data, 0)
    assert data.times[split.validation].min() > data.times[split.training].max()
    assert len(split.validation) >= round(0.15 * len(data))
    last = SplitSettings("last").split(data, 0)
    assert len(last.validation) == 6_040  # everybody has rated twice


def test_the_real_archive_cut_off(movielens_zip: Path, tmp_path: Path) -> None:
    whole = movielens_zip.read_bytes()
    path = put(tmp_path / "ml-1m.zip", whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"ml-1m\.zip: not readable as a zip archive"):
        load_ratings(path)
