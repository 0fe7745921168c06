"""A request with a strand is handled by a child of it; any other changes nothing."""

import asyncio
from types import SimpleNamespace

import pytest

from noclobber import recorder, strands
from noclobber.transports.calls import out
from noclobber.transports.visits import received

CALLER = "0123456789abcdef-12"


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    active = SimpleNamespace(
        settings=SimpleNamespace(http_hosts=("a.example", "*.svc:80")), edge=lambda *_: strands.current().take()
    )
    monkeypatch.setattr(recorder, "_active", active)


async def test_child_of_the_caller() -> None:
    """While it is handled, and no longer; the task has then waited for it."""
    before = strands.current()
    with received(f"a=1,noclobber.strand={CALLER}:7") as visit:
        handler = strands.current()
        assert (handler.parent_id, handler.parent_seq) == (CALLER, 7)
        assert visit is not None
        assert visit.answer() is None
        handler.take()
        assert visit.answer() == f"{handler.id}:1"
    assert strands.current() is before
    assert before.knows(handler)


@pytest.mark.parametrize("header", [None, "", "a=1", "noclobber.strand=x:1", "noclobber.strand=" + "9" * 9000])
async def test_others_change_nothing(header: str | None) -> None:
    """No baggage, other people's, and what can't be believed."""
    before = strands.current()
    with received(header) as visit:
        assert visit is None
        assert strands.current() is before


async def test_an_error_passes() -> None:
    """A handler's error, and its cancellation, leave the task as it was."""
    before = strands.current()
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error), received(f"noclobber.strand={CALLER}:7"):
            raise error
        assert strands.current() is before


@pytest.mark.parametrize(
    ("host", "port", "present", "told"),
    [("a.example", 443, None, True), ("A.example.", 1, None, True), ("b.svc", 80, None, True),
     ("b.svc", 81, None, False), ("a.example.evil", 443, None, False), ("xa.example", 443, None, False),
     (None, None, None, False), ("evil", 443, "user=1", True)],
)  # fmt: skip
async def test_who_is_told(host: str | None, port: int | None, present: str | None, told: bool) -> None:
    """Hosts on the list, and requests that carry baggage already."""
    assert (out(host, port, present) is not None) is told
