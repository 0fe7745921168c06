"""One open file whose accesses are recorded: what the program got from it, and what it put there.

Only the lowest layer of a file is ours: a `FileIO` that notes which bytes pass, at which place. Buffers and text layers
above it are Python's own, so whatever a program does with a file (`isinstance`, `seek`, `with`, `readinto`) goes as
without noclobber. From the bytes an image of the whole file is kept while it is open, up to `IMAGE_MAX`:

- a *read* is told when the program came to the end of the file, with a print of all that it got; who stopped before
  the end got something of which no print can be made: a read without version, partial. It begins with `open`, since
  what is opened stays the same file if another is renamed onto its name;
- a *write* is told when the file is closed, from the truncation (or the first byte put) to the close, with a print of
  what the file then holds by this program's own doing. Where that is not known (a part of a file that was not read,
  bytes that passed by `fileno()`) it is a write without version, partial; so is one whose file has lost its name;
- what is put at the end of a file opened to append is an `update`, as soon as it passes: the system adds it atomically.

Not decided here: which files are recorded (`noclobber.stores.files_hooks`).
"""

import io
import os
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.contract import Op, Outcome, WriteMode
from noclobber.guard import GUARD
from noclobber.stores.files_accesses import Content, Fact, build

__all__ = ["IMAGE_MAX", "LIBRARY", "RecordedFile", "Watch", "record"]

LIBRARY: Final = "files"
IMAGE_MAX: Final = 4 << 20
"""Bytes of a file that are kept while it is open; what is longer has no version."""


class Watch:
    """What is known of one open file.

    Attributes:
        resource: its name. path: where it is, absolute. opened_ns: when it was opened.
        created: whether it must not have been there (mode `x`). appends: opened to append.
        image: the file's content as far as it is known from its beginning; None: nothing is known any more.
        whole: whether `image` is all of it.
        asked: whether something was read; told: whether that read was told.
        changed_ns: when the program began to change it, 0 before. failed: a change raised, so nobody knows how far
            it came. exposed: the program has the descriptor, and may have gone past us.
        finalized: closed by the garbage collector.
    """

    __slots__ = (
        "_locks", "_process", "_strand", "appends", "asked", "changed_ns", "created", "exposed", "failed", "finalized",
        "image", "opened_ns", "path", "resource", "told", "whole",
    )  # fmt: skip

    def __init__(self, resource: str, path: str, mode: str, opened_ns: int) -> None:
        truncated = "w" in mode or "x" in mode
        self.resource, self.path, self.opened_ns = resource, path, opened_ns
        self.created, self.appends = "x" in mode, "a" in mode
        self.image: bytearray | None = bytearray()
        self.whole = truncated
        self.asked = self.told = False
        self.changed_ns = opened_ns if truncated else 0
        self.failed = self.exposed = self.finalized = False
        self._process, self._strand = strands.process_id(), strands.current()
        self._locks = self._strand.locks

    def got(self, at: int | None, data: Any, *, to_the_end: bool = False) -> None:
        """Bytes came from place `at`; none: it was the end of the file. None: nothing came, and it is no end."""
        if data is None or self.changed_ns:
            return  # its own bytes, or what lies between them
        if not self.asked or (at == 0 and self.told):  # from the beginning, perhaps once more
            self.image, self.asked, self.told, self.whole = bytearray(), True, False, False
        if self.image is None or at is None or at > len(self.image) or at + len(data) > IMAGE_MAX:
            self.image = None
            return
        if len(data):
            _laid(self.image, at, data)
            self.told = False
        if (to_the_end or not len(data)) and at + len(data) >= len(self.image):
            self.tell_read(whole=True)

    def tell_read(self, *, whole: bool) -> None:
        """Tell what was got, unless it was told."""
        if not self.asked or self.told:
            return
        self.told, self.whole = True, whole and self.image is not None
        content = Content.of(self.image) if self.whole and self.image is not None else None
        self._record(Fact(Op.READ, self.resource, content=content, partial=content is None), self.opened_ns)

    def settles(self, size: int) -> None:
        """Before it may change the file, which is `size` bytes long: what was read until now was read."""
        if not self.changed_ns:
            self.tell_read(whole=self.image is not None and len(self.image) == size)

    def changes(self, size: int, start_ns: int) -> None:
        """The program has begun to change the file, which was `size` bytes long."""
        if not self.changed_ns:
            self.whole = self.whole or size == 0
            self.changed_ns = start_ns

    def fails(self, error: BaseException, size: int, start_ns: int) -> None:
        """A change of the file, which was `size` bytes long, raised: nobody knows how far it came."""
        if isinstance(error, TypeError | ValueError):
            return  # wrong arguments, or not opened for it: nothing was tried
        self.changes(size, start_ns)
        self.failed, self.image = True, None

    def put(self, at: int | None, data: Any) -> None:
        """Bytes went to place `at`."""
        if not self.whole or self.image is None or at is None or at + len(data) > IMAGE_MAX:
            self.image = None
            return
        if at > len(self.image):
            self.image.extend(bytes(at - len(self.image)))
        _laid(self.image, at, data)

    def cut(self, size: int) -> None:
        """The file was made `size` bytes long."""
        if not self.whole or self.image is None or size > IMAGE_MAX:
            self.image, self.whole = (bytearray(), True) if size == 0 else (None, False)
            return
        del self.image[size:]
        self.image.extend(bytes(size - len(self.image)))

    def appended(self, count: int, start_ns: int) -> None:
        """So many bytes were added at the end."""
        self.image = None
        self._record(Fact(Op.UPDATE, self.resource, mode=WriteMode.APPEND, size=count), start_ns)

    def closed(self, found: os.stat_result | None, error: BaseException | None) -> None:
        """The file, last seen as `found`, was closed, or closing raised."""
        size = None if found is None else found.st_size
        self.tell_read(whole=size is not None and self.image is not None and len(self.image) == size)
        if not self.changed_ns:
            return
        replaced = not _is_at(self.path, found)
        known = self.whole and self.image is not None and not (self.exposed and size != len(self.image))
        content = Content.of(self.image) if known and self.image is not None else None
        strange = (self.finalized and strands.current() is not self._strand) or replaced
        outcome = Outcome.OK if error is None and not self.failed else Outcome.UNKNOWN
        mode = WriteMode.INSERT if self.created else None
        partial = content is None or strange
        fact = Fact(Op.WRITE, self.resource, outcome, content, mode, self.created, partial)
        self._record(fact, self.changed_ns, error)

    def _record(self, fact: Fact, start_ns: int, error: BaseException | None = None) -> None:
        if strands.process_id() == self._process:  # what a forked child closes is its parent's
            record((fact,), start_ns, error, self._locks)


def record(
    facts: tuple[Fact, ...], start_ns: int, error: BaseException | None = None, locks: tuple[str, ...] | None = None
) -> None:
    """Record one call that began at `start_ns`, when its strand held `locks` (None: as now), and ends now."""
    active = recorder.recording()
    if active is None:
        return
    call = active.begin(LIBRARY, len(facts))
    call.start_ns = start_ns
    call.error = error
    if locks is not None:  # held from the beginning to the end, else it guarded only some of it
        call.locks = tuple(each for each in call.locks if each in locks)
    active.end(call, build, facts)


class RecordedFile(io.FileIO):
    """A file's lowest layer, which tells its `Watch` what passes; without one it is a plain `FileIO`."""

    noclobber_watch: Watch | None = None

    def __repr__(self) -> str:
        """As `FileIO`'s, which names the class since Python 3.13."""
        return f"<_io.FileIO {super().__repr__().partition(' ')[2]}"

    def readinto(self, buffer: Any, /) -> Any:
        """As `FileIO.readinto`."""
        watch = self.noclobber_watch
        if watch is None:
            return super().readinto(buffer)
        at = _place(self)
        count = super().readinto(buffer)
        with GUARD:
            if count or (count == 0 and len(buffer)):
                watch.got(at, memoryview(buffer).cast("B")[:count])
        return count

    def read(self, size: Any = -1, /) -> Any:
        """As `FileIO.read`."""
        watch = self.noclobber_watch
        if watch is None or size == 0:
            return super().read(size)
        at = _place(self)
        data = super().read(size)
        with GUARD:
            watch.got(at, data, to_the_end=size is None or size < 0)
        return data

    def readall(self) -> Any:
        """As `FileIO.readall`."""
        watch = self.noclobber_watch
        if watch is None:
            return super().readall()
        at = _place(self)
        data = super().readall()
        with GUARD:
            watch.got(at, data, to_the_end=True)
        return data

    def write(self, data: Any, /) -> Any:
        """As `FileIO.write`."""
        watch = self.noclobber_watch
        if watch is None:
            return super().write(data)
        at, size = None, 0
        with GUARD:
            if not watch.appends:
                at, size = _place(self), _size(self)
                watch.settles(size)
        start_ns = recorder.now_ns()
        try:
            count = super().write(data)
        except BaseException as error:
            with GUARD:
                watch.fails(error, size, start_ns)
            raise
        with GUARD:
            if count and watch.appends:
                watch.appended(count, start_ns)
            elif count:
                watch.changes(size, start_ns)
                watch.put(at, memoryview(data).cast("B")[:count])
        return count

    def truncate(self, size: Any = None, /) -> Any:
        """As `FileIO.truncate`."""
        watch = self.noclobber_watch
        if watch is None:
            return super().truncate(size)
        before = 0
        with GUARD:
            before = _size(self)
            watch.settles(before)
        start_ns = recorder.now_ns()
        try:
            left = super().truncate(size)
        except BaseException as error:
            with GUARD:
                watch.fails(error, before, start_ns)
            raise
        with GUARD:
            watch.changes(before, start_ns)
            watch.cut(left)
        return left

    def fileno(self) -> int:
        """As `FileIO.fileno`; who has it may go past us."""
        if self.noclobber_watch is not None:
            self.noclobber_watch.exposed = True
        return super().fileno()

    def _dealloc_warn(self, source: Any) -> None:
        """Python's own sign that the garbage collector closes the file."""
        if self.noclobber_watch is not None:
            self.noclobber_watch.finalized = True
        super()._dealloc_warn(source)  # type: ignore[misc]  # not in typeshed

    def close(self) -> None:
        """As `FileIO.close`."""
        watch, found = self.noclobber_watch, None
        if watch is None or self.closed:
            super().close()
            return
        self.noclobber_watch = None
        with GUARD:
            found = os.fstat(io.FileIO.fileno(self))
        try:
            super().close()
        except BaseException as error:
            with GUARD:
                watch.closed(found, error)
            raise
        with GUARD:
            watch.closed(found, None)


def _place(file: io.FileIO) -> int | None:
    """Where the next byte comes from or goes to."""
    try:
        return io.FileIO.tell(file)
    except (OSError, ValueError):
        return None


def _size(file: io.FileIO) -> int:
    return os.fstat(io.FileIO.fileno(file)).st_size


def _laid(image: bytearray, at: int, data: Any) -> None:
    """Put `data` at place `at`; mostly that is the end, where it is copied once only."""
    if at == len(image):
        image += data
    else:
        image[at : at + len(data)] = data


def _is_at(path: str, found: os.stat_result | None) -> bool:
    """Whether the file `found` is still the one at `path`."""
    try:
        return found is not None and os.path.samestat(os.stat(path), found)  # noqa: PTH116  for each write
    except OSError:
        return False
