"""What can go wrong with what the analyzer is given.

    AnalyzerError
    └── InputError      a file that cannot be read as OTLP: names file, line and reason

A message says what, which one and what to do; the values are attributes too.
"""

__all__ = ["AnalyzerError", "InputError"]


class AnalyzerError(Exception):
    """The root of the analyzer's own errors."""


class InputError(AnalyzerError):
    """A file is no usable telemetry.

    Attributes:
        path: the file, `-` for standard input.
        line: from 1; None where lines mean nothing (protobuf, a missing file).
        reason: what is wrong, and what to do.
    """

    def __init__(self, path: str, line: int | None, reason: str) -> None:
        place = path if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {reason}")
        self.path, self.line, self.reason = path, line, reason
