"""What a program says by itself: exact attributes, nothing when switched off, mistakes at once."""

import ast
import asyncio
import contextlib
import doctest
import subprocess
import sys

import pytest

import noclobber
from noclobber import api, recorder, testing
from noclobber.testing import capture


def test_the_names_of_the_package() -> None:
    """Every public name is there, also once modules of the same name are imported."""
    from noclobber.access import Access

    assert callable(noclobber.access)
    assert noclobber.access is api.access
    assert Access.__module__ == "noclobber.access"
    for name in noclobber.__all__:
        assert callable(getattr(noclobber, name))
    with pytest.raises(AttributeError, match="no attribute 'acces'"):
        noclobber.acces  # type: ignore[attr-defined]  # noqa: B018  a mistake


def test_importing_the_package_imports_nothing_else() -> None:
    """Neither OpenTelemetry nor wrapt, nor anything beyond a handful of the standard library."""
    code = "import sys; before = set(sys.modules); import noclobber; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
                          capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    loaded = ast.literal_eval(done.stdout)
    assert [name for name in loaded if name.partition(".")[0] in ("opentelemetry", "wrapt", "redis", "asyncio")] == []
    assert [name for name in loaded if name.startswith("noclobber")] == ["noclobber"]


def test_the_documented_example_runs() -> None:
    """The doctest of the testing module."""
    assert doctest.testmod(testing).failed == 0
    assert doctest.testmod(testing).attempted >= 4


def test_versions_as_told() -> None:
    """What the store says, and what was made of content."""
    with capture() as captured:
        with noclobber.access("custom://doc", "read", part=["b", "a"]) as a:
            a.read(version=7, content="secret text", kind="counter")
        with noclobber.access("custom://doc", "write", mode="merge", part=["a", "b"]) as a:
            a.base(6)
            a.expected("7")
            a.overwritten(7)
            a.written(content="x")
        read, write = captured.accesses
    assert (read["noclobber.version.read"], read["noclobber.version.kind"]) == ("7", "counter")
    assert (read["noclobber.part"], read["noclobber.size"]) == (["a", "b"], 11)
    assert "secret" not in str(captured.spans)
    assert write["noclobber.version.base"] == "6"
    assert write["noclobber.version.base.source"] == "explicit"
    assert (write["noclobber.guard"], write["noclobber.version.expected"]) == ("version", "7")
    assert (write["noclobber.version.overwritten"], write["noclobber.version.weak"]) == ("7", True)
    assert write["noclobber.write.mode"] == "merge"


@pytest.mark.parametrize(
    ("op", "error", "outcome"),
    [
        ("read", ValueError("x"), "error"),
        ("write", ValueError("x"), "unknown"),
        ("write", asyncio.CancelledError(), "unknown"),
    ],
)
def test_a_block_that_raises(op: str, error: BaseException, outcome: str) -> None:
    """The exception is the program's own; a write may have been applied."""
    with capture() as captured:
        with pytest.raises(type(error)), noclobber.access("x://a", op):
            raise error
        (access,) = captured.accesses
    assert access["noclobber.outcome"] == outcome
    assert access.get("noclobber.cancelled") is (True if isinstance(error, asyncio.CancelledError) else None)


def test_what_was_said_before_it_raised_holds() -> None:
    """A rejection that the program turns into an exception is a rejection."""
    with capture() as captured:
        with contextlib.suppress(LookupError), noclobber.access("x://a", "write") as a:
            a.rejected()
            raise LookupError
        with noclobber.access("x://a", "read") as a:
            a.not_found(kind="chain")
        with noclobber.access("x://a", "write") as a:
            a.no_effect()
        outcomes = [(a["noclobber.outcome"], a.get("noclobber.version.read")) for a in captured.accesses]
    assert outcomes == [("rejected", None), ("not_found", "absent"), ("no_effect", None)]


def test_further_attributes() -> None:
    """Anything of the contract by its name; nothing else."""
    with capture() as captured, noclobber.access("queue://q", "receive") as a:
        a.tell(message_id="7", message_group="workers", message_delivery=2)
        with pytest.raises(ValueError, match=r"no attribute noclobber\.mesage\.id"):
            a.tell(mesage_id="7")
    (access,) = captured.accesses
    assert (access["noclobber.message.id"], access["noclobber.message.delivery"]) == ("7", 2)


def test_words_outside_the_contract_are_mistakes_at_once() -> None:
    """Seen at the first run, whether noclobber is on or not."""
    for words in (("x://a", "reads"),):
        with pytest.raises(ValueError), noclobber.access(*words):
            pass
    with pytest.raises(ValueError), noclobber.access("x://a", "write", mode="replace"):
        pass


def test_switched_off_everything_does_nothing() -> None:
    """Without a recorder the calls are there and cost nothing to be right."""
    before = recorder.swap(None)
    try:
        with noclobber.agent("a"), noclobber.run("r"), noclobber.step("s"), noclobber.access("x://a", "write") as a:
            a.written(version=1)
    finally:
        recorder.swap(before)


def test_instrument_with_an_exporter_of_the_sdk() -> None:
    """`instrument(span_exporter=...)` gives spans to it, as the SDK's own; twice does no harm."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    before = recorder.swap(None)
    try:
        assert noclobber.instrument(agent="planner", span_exporter=exporter)
        assert noclobber.instrument()
        with noclobber.access("x://a", "read"):
            pass
        noclobber.uninstrument()
    finally:
        recorder.swap(before)
    spans = [span for span in exporter.get_finished_spans() if span.name != "mark noclobber"]
    assert [(span.name, span.instrumentation_scope.name) for span in spans] == [("read custom", "noclobber.manual")]  # type: ignore[union-attr]
    assert dict(spans[0].attributes or {})["noclobber.agent"] == "planner"
    assert trace.get_tracer_provider() is provider
