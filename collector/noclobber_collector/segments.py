"""Segments of the spool on disk: their names, the frame around each request, and what of a damaged one is sound.

A segment is `number.open` while it is written, `number.spans.seg` once closed, `.done` once loaded and counted,
`.refused` if the store will never take it. Number is unix milliseconds << 16 | counter: it orders segments, and its day
is the partition. To each request four protobuf fields of our own are appended (1000 to 1003): segment, number of the
request, collector, and a checksum (crc32) over all before it, so that the file stays a stream that ClickHouse reads and
every row knows where it came from.

Source: storage.md, section 12 of the design.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "CLOSED",
    "LOADED",
    "OPEN",
    "REFUSED",
    "Segment",
    "bare_requests",
    "closed_segments",
    "frame",
    "framed",
    "newest_number",
    "repair",
    "salvage",
    "size_of",
    "sound_requests",
    "sync_folder",
]

OPEN: Final = ".open"
CLOSED: Final = ".seg"
LOADED: Final = ".done"
REFUSED: Final = ".refused"
_SEGMENT_KEY: Final = b"\xc0\x3e"  # field 1000, varint
_NUMBER_KEY: Final = b"\xc8\x3e"  # field 1001, varint
_CHECK_KEY: Final = b"\xd5\x3e"  # field 1002, fixed32
_COLLECTOR_KEY: Final = b"\xda\x3e"  # field 1003, text
_CHECK_SIZE: Final = len(_CHECK_KEY) + 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment.

    Attributes:
        number: orders segments.
        spans: how many it holds. loaded: whether the loader is done with it.
    """

    path: Path
    number: int
    spans: int
    loaded: bool

    @property
    def day(self) -> int:
        """Days since 1970 of its arrival."""
        return (self.number >> 16) // 86_400_000

    @property
    def begun_s(self) -> float:
        """Unix time at which it was begun."""
        return (self.number >> 16) / 1_000


def closed_segments(folder: Path, *, loaded: bool = False) -> list[Segment]:
    """Closed segments in order; those that were loaded already too, if `loaded`."""
    found = []
    for name in os.listdir(folder):  # noqa: PTH208  names are enough, and many times faster
        stem, dot, kind = name.rpartition(".")
        if dot + kind == CLOSED or (loaded and dot + kind == LOADED):
            number, _, spans = stem.partition(".")
            if number.isdigit() and spans.isdigit():
                found.append(Segment(folder / name, int(number), int(spans), dot + kind == LOADED))
    return sorted(found, key=lambda segment: segment.number)


def newest_number(folder: Path) -> int:
    """The greatest number of any segment in the folder; 0 where there is none."""
    stems = (name.partition(".")[0] for name in os.listdir(folder))  # noqa: PTH208  as above
    return max((int(stem) for stem in stems if stem.isdigit()), default=0)


def frame(request: bytes, segment: int, number: int, collector: bytes) -> bytes:
    """`request` as it stands in a segment: its length, itself, and our four fields."""
    return b"".join(framed(request, segment, number, collector))


def framed(request: bytes, segment: int, number: int, collector: bytes) -> tuple[bytes, bytes, bytes]:
    """The same as what stands before the request, itself, and what stands behind it: it may be large."""
    ours = b"".join(
        (_SEGMENT_KEY, _varint(segment), _NUMBER_KEY, _varint(number), _COLLECTOR_KEY, _varint(len(collector)),
         collector)
    )  # fmt: skip
    check = zlib.crc32(ours, zlib.crc32(request)).to_bytes(4, "little")
    return _varint(len(request) + len(ours) + _CHECK_SIZE), request, b"".join((ours, _CHECK_KEY, check))


def sound_requests(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the requests of a segment begin and end whose checksums fit; begins include the length.

    A request that is damaged inside is passed over; where a length makes no sense the rest is lost.
    """
    at = 0
    while at < len(data):
        length, begin = _read_varint(data, at)
        end = begin + length
        if length < _CHECK_SIZE or end > len(data):
            return
        check = end - _CHECK_SIZE
        if data.startswith(_CHECK_KEY, check):
            told = int.from_bytes(data[check + len(_CHECK_KEY) : end], "little")
            if zlib.crc32(memoryview(data)[begin:check]) == told:
                yield at, end
        at = end


def bare_requests(data: bytes, segment: int) -> Iterator[bytes]:
    """The sound requests of a segment as clients sent them, without length and our own fields."""
    ours = _SEGMENT_KEY + _varint(segment) + _NUMBER_KEY
    for at, end in sound_requests(data):
        begin = _read_varint(data, at)[1]
        yield data[begin : data.rindex(ours, begin, end)]


def repair(folder: Path) -> int:
    """Close segments that a crash left open, what was torn cut off; returns how many bytes were cut."""
    cut = 0
    for path in sorted(folder.glob(f"*{OPEN}")):
        data = path.read_bytes()
        sound, spans = _sound_part(data)
        cut += len(data) - len(sound)
        number = path.name.partition(".")[0]
        _replace(path, folder / f"{number}.{spans}{CLOSED}", sound, prefix=data.startswith(sound))
    sync_folder(folder)
    return cut


def salvage(segment: Segment) -> int:
    """Cut what is damaged out of a closed segment; returns how many spans were lost.

    The file is replaced by one without the damaged requests, whose name tells how many spans it holds.
    """
    data = segment.path.read_bytes()
    sound, spans = _sound_part(data)
    if len(sound) == len(data) and spans == segment.spans:
        return 0
    _replace(
        segment.path,
        segment.path.with_name(f"{segment.number:020d}.{spans}{CLOSED}"),
        sound,
        prefix=data.startswith(sound),
    )
    sync_folder(segment.path.parent)
    return max(segment.spans - spans, 0)


def _sound_part(data: bytes) -> tuple[bytes, int]:
    """The sound requests of `data` and how many spans they hold."""
    from noclobber_collector.requests import count_spans

    places = list(sound_requests(data))
    sound = b"".join(data[begin:end] for begin, end in places)
    return sound, sum(count_spans(data[_read_varint(data, begin)[1] : end]) for begin, end in places)


def _replace(path: Path, final: Path, data: bytes, *, prefix: bool) -> None:
    """Make `path` be `final` with `data` in it; a crash in between leaves the old file or the new one.

    A torn tail is cut off in place, which works on a full disk too.
    """
    if not data:
        path.unlink()
        return
    if prefix:
        with path.open("r+b") as file:
            file.truncate(len(data))
            os.fsync(file.fileno())
    else:
        made = path.with_suffix(".made")
        with made.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    path.rename(final)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; (0, at) where there is none."""
    number = shift = 0
    begin = at
    while at < len(data) and shift < 64:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, begin


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it has gone meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
