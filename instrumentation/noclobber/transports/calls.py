"""A client's side: which requests carry the strand, and what their answers tell.

A request carries it if its host is on the allow-list (`NOCLOBBER_HTTP_HOSTS`), or if somebody has put baggage into it
already. Each hop of a redirect is a request of its own. The answer names the strand that gave it and its last number
then; who has the answer has waited for that much of it, which is a join. Answers are believed of requests that carried
the strand and of no others.

Source: contract 4 (order between hosts); capture.md section 6.4.
"""

from fnmatch import fnmatchcase

from noclobber import recorder, strands
from noclobber.edges import joined
from noclobber.guard import GUARD
from noclobber.transports import baggage

__all__ = ["back", "out"]


def out(host: str | None, port: int | None, present: str | None) -> str | None:
    """The baggage that a request to `host` is to carry, `present` being what it has; None where it stays as it is."""
    with GUARD:
        active = recorder.active()
        if active is None or not (present or _is_listed(active.settings.http_hosts, host, port)):
            return None
        strand = strands.current()
        if not strand.suppressed:
            identity, seq = (strand.id, strand.seq) if strand.seq or strand.parent_id is None else _parent(strand)
            return baggage.with_strand(present, identity, seq)
    return None


def back(answer: str | None) -> None:
    """A request that carried the strand was answered, with `answer` in its header."""
    if not answer:
        return
    with GUARD:
        own = strands.current().id
        for identity, seq in baggage.answered(answer):
            if identity != own:
                joined(strands.elsewhere(identity, seq))


def _parent(strand: strands.Strand) -> tuple[str, int]:
    assert strand.parent_id is not None
    return strand.parent_id, strand.parent_seq


def _is_listed(patterns: tuple[str, ...], host: str | None, port: int | None) -> bool:
    if not patterns or not host:
        return False
    name = host.lower().rstrip(".")
    return any(fnmatchcase(name, each) or fnmatchcase(f"{name}:{port}", each) for each in map(str.lower, patterns))
