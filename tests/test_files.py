"""Files on disk: the old one or the whole new one, whatever happens in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from coset.errors import InputError
from coset.files import (
    check_writable,
    claimed,
    in_turn,
    locked,
    read_json,
    replacing,
    replacing_tensors,
    write_json,
    write_text,
)

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal, mode or lock")


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_replacing_puts_the_new_file_in_place_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "result.json"
    for text in ("one", "two, which is longer", ""):
        with replacing(path) as aside:
            assert aside.parent == path.parent
            aside.write_text(text)
        assert path.read_text() == text
        assert list(path.parent.iterdir()) == [path]


def break_off(path: Path, error: BaseException) -> None:
    with replacing(path) as aside:
        aside.write_text("half of the new")
        raise error


def test_replacing_leaves_the_old_file_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk"):
        break_off(path, RuntimeError("disk"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_makes_nothing_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        break_off(tmp_path / "new", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_killed_writer_leaves_the_old_file_and_the_next_lock_clears_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    code = (
        "import sys, pathlib\nfrom coset.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('new')\n    print('written', flush=True)\n    sys.stdin.read()\n"
    )
    with child(code, path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    assert path.read_text() == "old"
    assert len(list(tmp_path.glob(".*.coset-part"))) == 1
    keep = tmp_path / "my.part"
    keep.write_text("a user's own")
    with claimed(tmp_path, path.name, resume=True):
        assert list(tmp_path.glob(".*.coset-part")) == []
    assert keep.exists()
    assert path.read_text() == "old"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no folder here that takes no files")
def test_a_place_that_takes_nothing_is_named_as_it_was_given(tmp_path: Path) -> None:
    """Also to whoever may write everywhere, and not by the name of what is written aside first."""
    with pytest.raises(OSError, match=r"cannot be written \(.*: '/proc/p\.json'$"), replacing(Path("/proc/p.json")):
        pass
    with pytest.raises(InputError, match=r"^/proc/below/p\.json: cannot be written, as /proc takes no new file \("):
        check_writable(Path("/proc/below/p.json"))
    with (
        pytest.raises(InputError, match=r"^/proc/below: no folder can be made there"),
        claimed(Path("/proc/below"), "a", resume=False),
    ):
        pass
    with pytest.raises(InputError, match=r"^/proc: no file can be made in it"), locked(Path("/proc")):
        pass
    check_writable(tmp_path / "below" / "p.json")
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o000, 0o666)])
def test_a_result_has_the_mode_of_an_ordinary_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "result", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "result").stat().st_mode & 0o777 == mode


@posix
def test_a_second_process_is_refused_with_a_sentence_and_let_in_later(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom coset.files import locked\nfrom coset.errors import InputError\n"
        "try:\n    with locked(pathlib.Path(sys.argv[1])):\n        print('in')\n"
        "except InputError as error:\n    print(error)\n"
    )
    with locked(tmp_path), child(code, tmp_path) as second:
        said, _ = second.communicate(timeout=60)
    assert str(tmp_path) in said
    assert "another process" in said
    assert said.count("\n") == 1
    with child(code, tmp_path) as third:
        assert third.communicate(timeout=60)[0] == "in\n"


@posix
def test_a_refused_process_clears_nothing_away(tmp_path: Path) -> None:
    with locked(tmp_path):
        part = tmp_path / ".result.x.coset-part"
        part.write_text("being written by the holder")
        code = "import sys, pathlib\nfrom coset.files import claimed\n"
        code += "claimed(pathlib.Path(sys.argv[1]), 'run.json', True).__enter__()\n"
        words = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert "InputError" in done.stderr
        assert part.exists()


def test_json_round_trip_and_a_value_without_a_word_in_json(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    value = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    write_json(path, value)
    assert read_json(path) == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", None])
def test_unreadable_json_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"value\.json") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not readable"):
        read_json(tmp_path)


def test_a_folder_of_something_else_is_never_claimed(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("precious")
    (tmp_path / ".x.part").write_text("mine")
    for resume, message in ((True, "nothing to resume"), (False, "--resume")):
        with pytest.raises(InputError, match=message), claimed(tmp_path, "run.json", resume):
            pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "model.safetensors": "precious",
        ".x.part": "mine",
    }
    with pytest.raises(InputError, match="no folder"), claimed(tmp_path / "model.safetensors", "run.json", True):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", [".coset-lock", "mark", "other"])
def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "mark").touch()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: a pipe or a device"), claimed(tmp_path, "mark", resume=True):
        pass


def test_an_error_before_anything_is_written_leaves_no_folder(tmp_path: Path) -> None:
    new, old, written = (tmp_path / name for name in ("new", "old", "written"))
    old.mkdir()

    def fail(folder: Path) -> None:
        with claimed(folder, "mark", resume=False):
            if folder == written:
                (folder / "mark").touch()
            raise KeyError

    for folder in (new, old, written):
        with pytest.raises(KeyError):
            fail(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "written"]
    assert {path.name for path in written.iterdir()} >= {"mark"}


def test_a_folder_where_a_process_died_before_its_mark_can_be_claimed(tmp_path: Path) -> None:
    (tmp_path / ".coset-lock").touch()
    (tmp_path / ".run.json.abc.coset-part").write_text("{")
    for resume in (False, True):
        with claimed(tmp_path, "run.json", resume):
            assert [path.name for path in tmp_path.iterdir()] == [".coset-lock"]


@pytest.mark.parametrize(("told", "number"), [("I/O error: No space left on device (os error 28)", 28), ("odd", None)])
def test_what_safetensors_cannot_write_is_an_error_of_the_system(tmp_path: Path, told: str, number: int | None) -> None:
    words = "No space left" if number else "odd"
    with pytest.raises(OSError, match=words) as found, replacing_tensors(tmp_path / "file"):
        raise SafetensorError(told)
    assert (found.value.errno, found.value.filename) == (number, str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_lock_empties_no_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("rows")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".coset-lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match=r"\.coset-lock: a link, .*; remove it"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "rows"


def test_who_asks_for_a_turn_waits_for_the_one_that_has_it(tmp_path: Path) -> None:
    path, order = tmp_path / "below" / "work.lock", []

    def ask() -> None:
        with in_turn(path):
            order.append("second")

    with in_turn(path):
        other = threading.Thread(target=ask)
        other.start()
        time.sleep(0.1)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]
    with in_turn(path / "no folder"):  # where no file can be made, nobody waits
        order.append("third")
    assert order[-1] == "third"
