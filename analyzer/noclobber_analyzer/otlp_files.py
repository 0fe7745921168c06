"""Reads telemetry files: OTLP as JSON, one request a line, or as protobuf; gzipped or not, folders, standard input.

Each file is a stream of spans; a span of noclobber's becomes an access or a mark, any other is kept as context.
Metrics and logs in the same file are passed over. A file that is cut off or damaged stops everything with its name
and line: half an input must never look like a clean one. The end of the input is the frontier of every process that
sent no mark (contract 2.2).
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

from noclobber.declarations import Declarations
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.errors import InputError
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.otlp_json import NotARequest, groups_of_json
from noclobber_analyzer.otlp_protobuf import groups_of_protobuf
from noclobber_analyzer.spans import SpanGroup

__all__ = ["SUFFIXES", "files_in", "opened", "read_otlp"]

SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".pb", ".binpb", ".bin", ".otlp", ".proto")
"""What is taken from a folder, each also with `.gz`; a file that is named outright may be called anything."""

BUFFER: Final = 1 << 20
"""Bytes read at a time: a line holds hundreds of spans."""

_GZIP: Final = b"\x1f\x8b"


class _Lines(Protocol):
    """Bytes, to be read by line or whole."""

    def readline(self, size: int = -1, /) -> bytes: ...
    def read(self, size: int = -1, /) -> bytes: ...


def read_otlp(
    paths: Sequence[str],
    progress: Callable[[int], None] | None = None,
    declarations: Declarations = NOTHING_DECLARED,
) -> History:
    """The history in these files.

    Args:
        paths: files, folders (searched below, in order of name) or `-` for standard input.
        progress: told after each request how many spans have been read.
        declarations: what owners know of their resources.

    Raises:
        InputError: a file is missing, unreadable, cut off, damaged, or no OTLP; or a folder holds none.
    """
    builder = HistoryBuilder(declarations)
    for path in files_in(paths):
        for groups in _requests(path):
            for group in groups:
                builder.add_group(group)
            if progress is not None:
                progress(builder.spans)
    return builder.finish(ended=True)


def files_in(paths: Iterable[str]) -> Iterator[str]:
    """Each file of these paths, those of folders in order of name.

    Raises:
        InputError: a folder holds none.
    """
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            yield path
            continue
        found = sorted(str(file) for file in Path(path).rglob("*") if file.is_file() and _is_telemetry(file.name))
        if not found:
            raise InputError(path, None, f"this folder holds no telemetry ({', '.join(SUFFIXES)}, or these with .gz)")
        yield from found


def _is_telemetry(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def _requests(path: str) -> Iterator[list[SpanGroup]]:
    """The requests of one file, one after the other."""
    try:
        with opened(path) as stream:
            head = stream.readline()
            if head.lstrip().startswith(b"{") and not head.startswith(b"\n"):
                yield from _json_requests(path, head, stream)
            elif head:
                yield from _other(path, head + stream.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, None, f"the gzip data is cut off or damaged ({error})") from error
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror or error}") from error


@contextmanager
def opened(path: str) -> Iterator[_Lines]:
    """The file's bytes, unpacked where they are gzip."""
    with ExitStack() as stack:
        file = sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb", BUFFER))
        raw = cast("BufferedReader", file)
        packed = raw.peek(2)[:2] == _GZIP
        yield stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw


def _json_requests(path: str, head: bytes, stream: _Lines) -> Iterator[list[SpanGroup]]:
    number, line = 1, head
    while line:
        if line.strip():
            yield _json_request(path, number, line)
        number, line = number + 1, stream.readline()


def _json_request(path: str, number: int, line: bytes) -> list[SpanGroup]:
    try:
        return list(groups_of_json(line))
    except NotARequest:
        raise InputError(path, number, "no ExportTraceServiceRequest: there is no resourceSpans in it") from None
    except msgspec.ValidationError as error:
        raise InputError(path, number, f"no ExportTraceServiceRequest: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        cut = "" if line.endswith(b"\n") else ", and the file ends in the middle of this line: is it cut off?"
        raise InputError(path, number, f"no valid JSON ({error}){cut}") from error


def _other(path: str, data: bytes) -> Iterator[list[SpanGroup]]:
    """Protobuf, whose first byte 0x0a is a line feed; else JSON below an empty first line."""
    try:
        groups = list(groups_of_protobuf(data))
    except ValueError as error:
        if not data.lstrip().startswith(b"{"):
            raise InputError(path, None, f"neither JSON lines nor a complete request in protobuf ({error})") from error
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if line.strip():
                yield _json_request(path, number, line)
    else:
        yield groups
