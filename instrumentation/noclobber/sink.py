"""What takes finished spans; which there are stands in `noclobber.sinks`."""

from collections.abc import Sequence

from noclobber.access import AttributeValue
from noclobber.otlp import Span

__all__ = ["Sink"]


class Sink:
    """Where finished spans go: a collector, a file, a test's list."""

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:
        """Take one export; False where it had to be refused."""
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether everything before was acknowledged."""
        return True

    @property
    def refused(self) -> int:
        """Accesses that were taken, and then lost for good."""
        return 0

    @property
    def cpu_ns(self) -> int:
        """CPU that threads of its own took so far."""
        return 0

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Whether everything was acknowledged within `timeout_s`."""
        return True

    def close(self, timeout_s: float) -> None:
        """Hand over what is left."""

    def abandon(self) -> None:
        """In a forked child, where another sink takes over: let go of what is the parent's."""
