"""What can go wrong in the collector, as types.

CollectorError
  SpoolBusyError        a spool that another receiver writes to, or that belongs to another collector
  SpoolFullError        no room on disk or in the spool's limit: clients are asked to come again
  MalformedError        bytes that are no OTLP request: clients are told why, and never to send them again
  StoreError            a statement failed
    StoreUnreachableError   the server does not answer: what waits is kept, and tried again
    StoreUnusableError      this store can't be used by this version; starting again will not help
    StoreBusyError          another process holds the embedded store
"""

__all__ = [
    "CollectorError",
    "MalformedError",
    "SpoolBusyError",
    "SpoolFullError",
    "StoreBusyError",
    "StoreError",
    "StoreUnreachableError",
    "StoreUnusableError",
]


class CollectorError(Exception):
    """Anything that the collector says by itself."""


class SpoolBusyError(CollectorError):
    """A spool is not ours to write to; says why."""


class SpoolFullError(CollectorError):
    """There is no room to make a request durable."""


class MalformedError(CollectorError):
    """A request that can't be read."""


class StoreError(CollectorError):
    """A statement failed; says which table or statement, and the server's words.

    Attributes:
        code: ClickHouse's number of the error; None where it gave none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class StoreUnreachableError(StoreError):
    """The store does not answer."""


class StoreUnusableError(StoreError):
    """The store was made by a newer version, or is damaged."""


class StoreBusyError(StoreError):
    """Another process holds the embedded store."""
