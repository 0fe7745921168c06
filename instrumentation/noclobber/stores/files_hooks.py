"""What is wrapped for local files: `open`, `os.replace`, `os.rename`, `os.remove`, and with them pathlib.

Here a call is told apart by its path: one that nobody named costs a look-up. A name is matched as the program writes
the path (made absolute); the resource is the path with its links resolved, so that one file has one name. A named file
is opened as `io.open` opens it, only with a lowest layer of ours (`noclobber.stores.files_watched`). Replacing a file
by renaming another onto it is the atomic write: its print is taken from the file that is renamed.

Not reached: an `open` that somebody else has replaced before, `os.open`, descriptors, `mmap`, programs not in Python,
paths relative to a folder's descriptor, and `from os import replace` before noclobber. A copy by `shutil` is a write
without version.
"""

import _io
import builtins
import copy
import functools
import io
import os
import pkgutil
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final

from noclobber import recorder
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.resources import file_uri
from noclobber.stores.files import names_files
from noclobber.stores.files_accesses import Content, Fact
from noclobber.stores.files_watched import IMAGE_MAX, RecordedFile, Watch, record
from noclobber.stores.wrapping import Hook

__all__ = ["forget", "hooks"]

PATHS_MAX: Final = 16_384
"""Paths of which it is remembered that nobody named them."""
_FLAGS: Final = frozenset("rwxabt+")
_unnamed: set[str] = set()


def hooks() -> Sequence[Hook]:
    """What is to be wrapped, and by what."""
    opening = _Function(_opening, _io.open)
    return [
        # An `open` that is somebody else's already may open something else than a file: it stays.
        *((each, "open", lambda _: opening) for each in (builtins, io) if each.open is _io.open),
        *((os, name, functools.partial(_Function, _moving)) for name in ("replace", "rename")),
        *((os, name, functools.partial(_Function, _removing)) for name in ("remove", "unlink")),
    ]


def forget() -> None:
    """Ask again which files are named: something was declared."""
    _unnamed.clear()


class _Function:
    """What stands for a function of C: it stays a function where a class takes it up, and is pickled by name."""

    def __init__(self, make: Callable[[Any], Any], original: Any) -> None:
        self._original, self._function = original, make(original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce__(self) -> Any:
        # A copy of a function is that function; since 3.13 `open` calls itself `_io.open`, which is no name of ours.
        return (pkgutil.resolve_name, ("io:open",)) if self._original is _io.open else (copy.copy, (self._original,))


# -- which files ---------------------------------------------------------------------------------------------------


def _resource(file: Any) -> str | None:
    """The name of a file that somebody named; None: nobody did, or nothing is recorded now."""
    if file in _unnamed:
        return None
    path = os.path.abspath(os.fsdecode(file))  # noqa: PTH100  a fifth of what pathlib costs
    if path in _unnamed:
        return None
    active = recorder.recording()
    if active is None:
        return None
    if not _is_named(path, active):
        if len(_unnamed) >= PATHS_MAX:
            _unnamed.clear()
        _unnamed.add(path)
        return None
    return file_uri(os.path.realpath(path))


def _is_named(path: str, active: recorder.Recorder) -> bool:
    name, settings = file_uri(path), active.settings
    own = path == str(settings.file) or (settings.spool is not None and path.startswith(f"{settings.spool}{os.sep}"))
    fitting = [each for each in active.declarations.declared if each.fits(name)]
    return not own and any(map(names_files, fitting)) and not any(each.ignore for each in fitting)


def _named(file: Any) -> str | None:
    """As `_resource`, for whatever a program gives as a file; never raises."""
    try:
        return None if isinstance(file, int) else _resource(os.fspath(file))
    except (TypeError, ValueError, OSError):
        return None  # the original says what is wrong with it
    except Exception as error:
        GUARD.caught(error)
        return None


# -- open ----------------------------------------------------------------------------------------------------------


def _opening(original: Any) -> Any:
    def open(  # noqa: A001, PLR0917  the name and arguments that it has
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
        closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        resource = _named(file)
        if resource is None or not closefd or not _is_usual(mode, buffering, (encoding, errors, newline)):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        started_ns = recorder.now_ns()
        try:
            raw = RecordedFile(os.fspath(file), mode.translate(_RAW), True, opener)
        except OSError as error:
            with GUARD:
                _not_opened(resource, mode, error, started_ns)
            raise
        with GUARD:
            if stat.S_ISREG(os.fstat(io.FileIO.fileno(raw)).st_mode):
                path = os.path.abspath(os.fsdecode(raw.name))  # noqa: PTH100  as above
                raw.noclobber_watch = Watch(resource, path, mode, started_ns)
        try:
            return _layered(raw, mode, buffering, (encoding, errors, newline))
        except BaseException:
            raw.close()
            raise

    return open


_RAW: Final = str.maketrans("", "", "bt")


def _is_usual(mode: Any, buffering: Any, text: tuple[Any, ...]) -> bool:
    """Whether the arguments are right; what is wrong with others the original says."""
    if not isinstance(mode, str) or not isinstance(buffering, int):
        return False
    letters = set(mode)
    if len(letters) != len(mode) or letters - _FLAGS or len(letters & set("rwxa")) != 1 or {"b", "t"} <= letters:
        return False
    if "b" in letters:
        return buffering != 1 and text == (None, None, None)
    return buffering != 0


def _layered(raw: Any, mode: str, buffering: int, text: tuple[Any, Any, Any]) -> Any:
    """The layers that `io.open` puts above a file's lowest one."""
    terminal = buffering < 0 and raw.isatty()
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else raw._blksize if raw._blksize > 1 else io.DEFAULT_BUFFER_SIZE
    kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
    buffer = kind(raw, size)
    if "b" in mode:
        return buffer
    encoding, errors, newline = text
    layered: Any = io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1 or terminal)
    layered.mode = mode  # as io.open does
    return layered


def _not_opened(resource: str, mode: str, error: OSError, started_ns: int) -> None:
    if "r" in mode and "+" not in mode:
        outcome = Outcome.NOT_FOUND if isinstance(error, FileNotFoundError) else Outcome.ERROR
        record((Fact(Op.READ, resource, outcome),), started_ns, error)
        return
    there = "x" in mode and isinstance(error, FileExistsError)
    outcome = Outcome.REJECTED if there else Outcome.ERROR
    record((Fact(Op.WRITE, resource, outcome, unique=there),), started_ns, error)


# -- moving and removing -------------------------------------------------------------------------------------------


def _moving(original: Any) -> Any:
    def move(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> Any:
        def act() -> Any:
            return original(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        target, source = _named(dst), _named(src)
        if src_dir_fd is not None or dst_dir_fd is not None or (target is None and source is None):
            return act()
        content: Content | None = None
        with GUARD:
            content = _content(src) if target is not None else None
        if content is None and os.path.isdir(src):  # noqa: PTH112  it may be a descriptor or bytes
            return act()
        return _recorded(act, lambda error: _moved(target, source, content, error))

    return move


def _moved(
    target: str | None, source: str | None, content: Content | None, error: BaseException | None
) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    gone = isinstance(error, FileNotFoundError)
    outcome = Outcome.OK if error is None else Outcome.ERROR
    if target is not None:
        facts.append(Fact(Op.WRITE, target, outcome, content, partial=content is None and error is None))
    if source is not None:
        facts.append(Fact(Op.DELETE, source, Outcome.NO_EFFECT if gone else outcome))
    return tuple(facts)


def _content(path: Any) -> Content | None:
    """What a file holds that is about to become another; None: it can't be had, or is too long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with io.FileIO(descriptor) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > IMAGE_MAX:
            return None
        return Content.of(file.readall())


def _removing(original: Any) -> Any:
    def remove(path: Any, *, dir_fd: int | None = None) -> Any:
        def act() -> Any:
            return original(path, dir_fd=dir_fd)

        resource = _named(path) if dir_fd is None else None
        return act() if resource is None else _recorded(act, lambda error: (_removed(resource, error),))

    return remove


def _removed(resource: str, error: BaseException | None) -> Fact:
    outcome = Outcome.NO_EFFECT if isinstance(error, FileNotFoundError) else Outcome.ERROR
    return Fact(Op.DELETE, resource, Outcome.OK if error is None else outcome)


def _recorded(act: Callable[[], Any], told: Callable[[BaseException | None], tuple[Fact, ...]]) -> Any:
    """Do `act`, and record what it was."""
    started_ns = recorder.now_ns()
    try:
        answer = act()
    except BaseException as error:
        with GUARD:
            record(told(error), started_ns, error)
        raise
    with GUARD:
        record(told(None), started_ns)
    return answer
