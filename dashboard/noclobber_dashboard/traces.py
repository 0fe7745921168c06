"""Where a trace is shown in the user's own backend: a link made from a template of the operator's.

The template is an http or https address with `{trace_id}` in it, and `{span_id}` if the backend can point at one. Only
hexadecimal ids of the right length are put in, so no name that an agent chose becomes part of an address.
"""

import re
from typing import Final

__all__ = ["is_template", "trace_link"]

_TEMPLATE: Final = re.compile(r"https?://[^\s\"'<>\\^`]+", re.IGNORECASE)
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SPAN: Final = re.compile(r"[0-9a-f]{16}")


def is_template(template: str) -> bool:
    """Whether links can be made of it.

    >>> is_template("https://jaeger.example/trace/{trace_id}?uiFind={span_id}"), is_template("jaeger/{trace_id}")
    (True, False)
    """
    return _TEMPLATE.fullmatch(template) is not None and "{trace_id}" in template


def trace_link(template: str, trace_id: str, span_id: str = "") -> str:
    """The address of a trace, at a span where the template asks for it; empty where none can be made."""
    if not is_template(template) or not _TRACE.fullmatch(trace_id) or (span_id and not _SPAN.fullmatch(span_id)):
        return ""
    return template.replace("{trace_id}", trace_id).replace("{span_id}", span_id)
