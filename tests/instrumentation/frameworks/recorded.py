"""What was recorded of LangGraph's resources."""

from typing import Any

from noclobber.testing import Captured


def of(captured: Captured, prefix: str = "langgraph://") -> list[dict[str, Any]]:
    """The accesses of resources whose name begins with `prefix`, in the order of their calls, names without prefix."""
    spans = sorted(captured.spans, key=lambda span: (span.start_ns, span.attributes["noclobber.seq"]))
    return [
        {name.removeprefix("noclobber."): value for name, value in span.attributes.items()}
        for span in spans
        if str(span.attributes["noclobber.resource"]).startswith(prefix)
    ]
