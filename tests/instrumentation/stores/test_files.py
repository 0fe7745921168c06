"""Local files, real ones: what is told of them, what is not recorded, races, and files that behave as without us."""

# ruff: noqa: PTH105, PTH107, PTH123, SIM115  all ways to open and move files are under test

import _io
import base64
import builtins
import io
import itertools
import json
import mmap
import os
import pickle
import shutil
import time
import timeit
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pytest
from files_stage import TEXT, folder, path, watching

import noclobber
from noclobber import versions
from noclobber.guard import GUARD
from noclobber.otlp import json_line
from noclobber.resources import file_uri
from noclobber.stores.files_watched import IMAGE_MAX
from noclobber.testing import KEY, Captured, capture

__all__ = ["folder", "path"]


def printed(data: bytes) -> str:
    before = versions.use_key(KEY)
    try:
        return versions.fingerprint(data)
    finally:
        versions.use_key(before)


def story(captured: Captured) -> list[str]:
    """Each access: op, file, and what else is worth a word."""
    told = []
    for each in captured.accesses:
        words = [each["noclobber.op"], each["noclobber.resource"].rpartition("/")[2]]
        words += [each["noclobber.outcome"]] if each["noclobber.outcome"] != "ok" else []
        words += [name for name in ("partial", "version.weak") if f"noclobber.{name}" in each]
        told.append(" ".join(words))
    return told


# -- what is told --------------------------------------------------------------------------------------------------


def test_read_then_write_whole(path: Path, folder: Path) -> None:
    """Every attribute of a read, and of the write that was computed from it."""
    with watching(folder, agent="teller") as captured:
        with open(path) as file:
            state = json.load(file)
        state["balance"] += 50
        with open(path, "w") as file:
            json.dump(state, file)
        read, write = captured.accesses
        spans = captured.spans
    common = {
        "noclobber.resource": file_uri(str(path)),
        "noclobber.system": "file",
        "noclobber.outcome": "ok",
        "noclobber.agent": "teller",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.size": 19,
        "noclobber.version.kind": "fingerprint",
        "code.function.name": "test_read_then_write_whole",
        "code.file.path": __file__,
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.version.read": printed(TEXT.encode()),
        "code.line.number": read["code.line.number"],
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.version.written": printed(b'{"balance": 100050}'),
        "noclobber.version.base": printed(TEXT.encode()),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": spans[0].end_ns,
        "code.line.number": read["code.line.number"] + 2,
    }
    assert [(span.name, span.library) for span in spans] == [("read file", "files"), ("write file", "files")]
    assert spans[1].start_ns > spans[0].end_ns


def test_modes(folder: Path) -> None:
    """Each way to open a file tells what it did, once it has done it."""
    file = folder / "f"
    with watching(folder) as captured:
        file.write_bytes(b"a long enough text")  # w
        assert file.read_bytes() == b"a long enough text"  # r
        with open(file, "r+") as both:
            both.read()
            both.seek(0)
            both.write("shorter")
            both.truncate()
        with open(file, "a") as log:
            log.write(" and more")
            log.flush()
            log.write(" and more of it")
        with open(file, "w+b") as both_ways:
            both_ways.write(b"what was written")
            both_ways.seek(0)
            assert both_ways.read() == b"what was written"
        with pytest.raises(FileExistsError):
            open(file, "x")
        with open(folder / "new", "x") as new:
            new.write("some new content")
        with pytest.raises(FileNotFoundError):
            (folder / "nothing").read_text()
        with open(file, "rb") as unread:
            assert unread.readable()
        told, prints = story(captured), [each.get("noclobber.version.written") for each in captured.accesses]
        new_write = captured.accesses[8]
    assert told == [
        "write f", "read f", "read f", "write f version.weak", "update f", "update f", "write f", "write f rejected",
        "write new", "read nothing not_found",
    ]  # fmt: skip
    assert prints[3] == printed(b"shorter")
    assert prints[6] == printed(b"what was written")
    assert (new_write["noclobber.write.mode"], new_write["noclobber.guard"]) == ("insert", "unique")


def test_replaced_renamed_removed(path: Path, folder: Path) -> None:
    """The atomic write has the print of what was renamed; what is gone is absent, and was not there twice."""
    with watching(folder) as captured:
        path.read_text()
        (folder / "beside").write_text("a whole new state")
        os.replace(folder / "beside", path)
        path.rename(folder / "elsewhere")
        with pytest.raises(FileNotFoundError):
            path.unlink()
        os.remove(folder / "elsewhere")
        told, accesses = story(captured), captured.accesses
    assert told == [
        "read state.json", "write beside", "write state.json", "delete beside", "write elsewhere", "delete state.json",
        "delete state.json no_effect", "delete elsewhere",
    ]  # fmt: skip
    replaced = accesses[2]
    assert replaced["noclobber.version.written"] == printed(b"a whole new state")
    assert replaced["noclobber.version.base"] == printed(TEXT.encode())
    assert accesses[5]["noclobber.version.written"] == "absent"


def test_what_was_not_seen_is_partial(path: Path, folder: Path) -> None:
    """A file read in part, written in part, or written past us has no version that could be wrong."""
    path.write_bytes(b"0123456789" * 10_000)
    with watching(folder) as captured:
        with open(path, "rb") as file:
            file.read(5)
        with open(path, "r+b") as file:
            file.seek(3)
            file.write(b"changed")
        shutil.copyfile(__file__, path)
        path.write_bytes(bytes(IMAGE_MAX + 1))
        path.read_bytes()
        told = story(captured)
        assert not any("noclobber.version.written" in each for each in captured.accesses)
    assert told == [
        "read state.json partial", "write state.json partial", "write state.json partial", "write state.json partial",
        "read state.json partial",
    ]  # fmt: skip


def test_a_name_that_went_to_another_file(path: Path, folder: Path) -> None:
    """What is open stays the old file: its read began when it was opened, and what is put there replaces nothing."""
    with watching(folder) as captured:
        with open(path) as old, open(path, "r+") as changed:
            (folder / "beside").write_text("a whole new state")
            os.replace(folder / "beside", path)
            assert old.read() == TEXT
            changed.write("{")
        assert story(captured)[3:] == ["read state.json", "write state.json partial"]
        replaced, read = captured.spans[1], captured.spans[3]
    assert read.start_ns < replaced.start_ns < read.end_ns


def test_fsync_is_nothing_to_fear(path: Path, folder: Path) -> None:
    """Who only syncs by the descriptor has changed nothing."""
    with watching(folder) as captured:
        with open(path, "w") as file:
            file.write("a state made sure of")
            file.flush()
            os.fsync(file.fileno())
        assert story(captured) == ["write state.json"]


def test_weak_contents(folder: Path) -> None:
    """What is so common that many files hold it names no single state."""
    with watching(folder) as captured:
        for content in ("", "{}", "[]\n", "100\n", "true", "a text of its own"):
            (folder / "f").write_text(content)
        told = [(a.get("noclobber.version.weak"), a.get("noclobber.content.numeric")) for a in captured.accesses]
    assert told == [(True, None)] * 3 + [(True, True), (True, None), (None, None)]


def test_read_twice(path: Path, folder: Path) -> None:
    """Rewound and read again is another read, with what the file holds by then."""
    with watching(folder) as captured:
        with open(path, "rb", buffering=0) as file:
            file.read()
            path.write_text("changed in between")
            file.seek(0)
            assert file.read() == b"changed in between"
        reads = [a["noclobber.version.read"] for a in captured.accesses if a["noclobber.op"] == "read"]
    assert reads == [printed(TEXT.encode()), printed(b"changed in between")]


def test_fsspec(folder: Path) -> None:
    """Its local file system stands on `open`, plain and in transactions."""
    with watching(folder) as captured:
        files = fsspec.filesystem("file")
        files.pipe_file(str(folder / "f"), b"a state of some length")
        assert files.cat_file(str(folder / "f")) == b"a state of some length"
        with files.transaction, files.open(str(folder / "f"), "wb") as file:
            file.write(b"committed all at once")
        files.rm_file(str(folder / "f"))
        told = story(captured)
        last = [a for a in captured.accesses if a["noclobber.op"] == "write"][-1]
    assert told == ["write f", "read f", "write f", "delete f"]
    assert last["noclobber.version.written"] == printed(b"committed all at once")


# -- which files ---------------------------------------------------------------------------------------------------


def test_nothing_is_touched_until_asked(path: Path, folder: Path) -> None:
    """Without a named file `open` is Python's own; a declaration wraps it, and the end puts it back."""
    own = builtins.open, io.open, os.replace, os.remove
    with capture() as captured:
        assert (builtins.open, io.open, os.replace, os.remove) == own
        path.read_text()
        noclobber.declare("redis://*/x")
        assert builtins.open is own[0]
        noclobber.declare(f"file://*{folder}/*")
        assert builtins.open is not own[0]
        path.read_text()
        assert story(captured) == ["read state.json"]
    assert (builtins.open, io.open, os.replace, os.remove) == own


def test_only_what_is_named(path: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files, ignored ones, descriptors and what is no file at all go by; one file has one name."""
    (tmp_path / "other").write_text("no business of ours")
    (folder / "ignored.tmp").write_text("nor is this one")
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(folder)
    tables = (
        {"pattern": f"file://*{tmp_path}/link"},
        {"pattern": "file://*/ignored.*", "ignore": True},
    )
    with watching(folder, tables=tables) as captured:
        for name in (tmp_path / "other", folder / "ignored.tmp", "/dev/null", os.open(path, os.O_RDONLY)):
            with open(name) as file:
                file.read()
        for name in (path, str(path), os.fsencode(path), "state.json", "../shared/./state.json", tmp_path / "link"):
            with open(name) as file:
                file.read()
        names = [each["noclobber.resource"] for each in captured.accesses]
    assert names == [file_uri(str(path))] * 6


def test_cost_of_files_that_nobody_named(tmp_path: Path, folder: Path) -> None:
    """Opening another file costs little more than before: a look-up."""
    other = tmp_path / "other"
    other.write_text("x")
    name = str(other)

    def opened() -> None:
        open(name).close()

    def cost() -> float:
        return min(timeit.repeat(opened, number=2000, repeat=7, timer=time.thread_time))

    bare = cost()
    with watching(folder):
        assert cost() < 1.5 * bare


# -- what a program sees -------------------------------------------------------------------------------------------


def test_files_behave_as_ever(path: Path, folder: Path) -> None:
    """Every layer has Python's type and says of itself what it always said; wrong arguments raise the same."""

    def seen(file: Path) -> list[Any]:
        told: list[Any] = []
        for mode, buffering in itertools.product(("r", "rb", "r+", "r+b", "w", "ab", "w+", "xb"), (-1, 0, 1, 4096)):
            if "x" in mode:
                file.unlink(missing_ok=True)
            if "b" in mode and buffering == 1:
                continue  # Python warns, and so do we: by its own open
            try:
                with open(file, mode, buffering) as opened:
                    told.append((type(opened).__mro__[-4:], opened.name, opened.mode, repr(opened)))
                    told.append((opened.readable(), opened.writable(), opened.seekable(), opened.isatty()))
                    told.append(getattr(opened, "line_buffering", None))
            except ValueError as error:
                told.append(str(error))
        for arguments in (
            ("q",),
            ("rr",),
            ("rb", -1, "utf-8"),
            ("r", -1, "no such encoding"),
            ("r", -1, None, "x", "q"),
        ):
            with pytest.raises((ValueError, LookupError)) as raised:
                open(file, *arguments)
            told.append(str(raised.value))
        return told

    plain = seen(path)
    with watching(folder):
        watched = seen(path)
        with open(path, "w") as text, open(path, "rb", 0) as raw:
            assert type(text) is io.TextIOWrapper
            assert type(text.buffer) is io.BufferedWriter
            assert isinstance(raw, io.FileIO)
    assert watched == plain


def test_an_open_of_others_stays(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has replaced `open` before us may open something else; who does it after us is not undone."""
    monkeypatch.setattr(builtins, "open", lambda *_: io.StringIO("nothing real"))
    with watching(folder) as captured:
        assert open(path).read() == "nothing real"
        assert captured.accesses == []
        with monkeypatch.context() as later:
            ours = io.open
            later.setattr(io, "open", lambda file, *more: ours(file, *more))  # noqa: PLW0108  somebody's wrapper
            path.read_text()
        assert story(captured) == ["read state.json"]
    assert io.open is _io.open
    assert path.read_text() == TEXT


def test_functions_stay_functions(path: Path, folder: Path) -> None:
    """A class that takes up `open` gets no method of it; it is pickled by name, and says what it always said."""
    plain = repr(open), open.__name__, open.__doc__
    with watching(folder):

        class Program:
            opens = open
            replaces = os.replace

        with Program().opens(path) as file:
            assert file.read() == TEXT
        Program().replaces(path, folder / "moved")
        assert (repr(open), open.__name__, open.__doc__) == plain
        assert pickle.loads(pickle.dumps(open)) is open
        stored = pickle.dumps(os.replace)
    assert pickle.loads(stored) is os.replace


def test_mapped_lines_and_seeks(path: Path, folder: Path) -> None:
    """Mapping, reading by line, into a buffer, and going to and fro give what they give."""
    lines = [f"line {number}\n" for number in range(5000)]
    with watching(folder) as captured:
        path.write_text("".join(lines))
        with open(path) as file:
            assert list(file) == lines
        with open(path, "rb") as file:
            buffer = bytearray(6)
            assert file.readinto(buffer) == 6
            file.seek(-6, os.SEEK_END)
            assert (bytes(buffer), file.read()) == (b"line 0", b" 4999\n")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                assert mapped[:6] == b"line 0"
        assert story(captured)[:2] == ["write state.json", "read state.json"]


def test_errors_are_the_programs_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong on our side is swallowed; what goes wrong on theirs is theirs, and told."""
    with watching(folder) as captured:
        with pytest.raises(IsADirectoryError):
            open(folder / ".")
        with pytest.raises(FileNotFoundError):
            os.replace(folder / "nothing", folder / "f")
        assert story(captured) == ["write f error", "delete nothing no_effect"]
        GUARD.reraises = False
        monkeypatch.setattr("noclobber.stores.files_watched.Content", None)
        (folder / "f").write_text("goes through all the same")
        assert (folder / "f").read_text() == "goes through all the same"


def test_secrets_stay(path: Path, folder: Path) -> None:
    """No content leaves, in whatever spelling."""
    secret = "sk-live-51H8mDr7hunter2hunter2"
    with watching(folder) as captured:
        path.write_text(f'{{"token": "{secret}"}}')
        json.loads(path.read_text())
        with open(path, "a") as file:
            file.write(secret)
        os.replace(path, folder / "moved")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
        assert len(captured.accesses) == 5
    spelled = (secret, base64.b64encode(secret.encode()).decode()[:-4], secret.encode().hex(), quote(secret, safe=""))
    assert [each for each in spelled if each in sent] == []
