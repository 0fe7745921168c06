"""Every rule by name: what the contract asks for, and where it says so; what was broken, and by which span."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["RULES", "Breach", "Rule"]


class Rule(NamedTuple):
    """One demand.

    Attributes:
        section: where the contract has it.
        must: whether breaking it breaks the contract; else findings are only less sure, or say less.
        text: the demand, as a sentence.
    """

    section: str
    must: bool
    text: str


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule, the span that breaks it, and how."""

    rule: str
    place: str
    what: str


Told = Iterator[tuple[str, str]]
"""Names of broken rules, with what is wrong."""

RULES: Final[Mapping[str, Rule]] = {
    "resource.required": Rule("2", True, "The resource has service.name, service.instance.id, host.name, process.pid, "
                              "noclobber.process and noclobber.contract, each in its type."),
    "resource.contract": Rule("2", True, "noclobber.contract is the text 1."),
    "resource.clock": Rule("2", True, "noclobber.clock and noclobber.clock.offset_ns come together."),
    "span.ids": Rule("2", True, "Trace id: 32 hexadecimal digits; span id: 16; neither all zeros."),
    "span.times": Rule("2", True, "Nanoseconds of call and return, the return not before the call; a span without an "
                       "end is noclobber.open."),
    "span.name": Rule("2", True, "The name is the operation, a space, the system."),
    "span.kind": Rule("2", True, "The kind is INTERNAL."),
    "span.scope": Rule("2", True, "The scope is noclobber. and the library's name; spans of other scopes have no "
                       "attribute of noclobber's."),
    "attribute.once": Rule("2", True, "No attribute comes twice in one span."),
    "attribute.known": Rule("2", True, "Whatever begins with noclobber. is a name of the contract."),
    "attribute.type": Rule("2", True, "Each attribute has its type."),
    "attribute.word": Rule("2", True, "Where the contract lists words, the value is one of them."),
    "attribute.required": Rule("2", True, "op, resource, system, outcome; and but for marks agent, strand, seq."),
    "resource.uri": Rule("2", True, "noclobber.resource is a URI."),
    "version.kind": Rule("2", True, "A version says its kind, and a read that says a kind says the version it read."),
    "version.digits": Rule("2", True, "Versions of kind counter and ordered are digits."),
    "version.absent": Rule("2", True, "What was not found has the version that stands for nothing: 0, or absent."),
    "version.refused": Rule("2", True, "A write that was refused, or found nothing, overwrote nothing."),
    "base.source": Rule("2", True, "A base says where it comes from."),
    "base.access": Rule("2", True, "The access that a base names, if it is in the record, read or made that version."),
    "guard.expected": Rule("2.1", True, "A version guard says the version that it asked for."),
    "unit.kind": Rule("2", True, "unit and unit.kind come together; inside a transaction the kind is txn."),
    "op.carries": Rule("2.1", True, "Each operation carries what its row asks for."),
    "update.base": Rule("2.1", True, "An update has no base: the store itself read and wrote."),
    "scan.results": Rule("2.1", True, "Resources and versions of a result are parallel, 64 at most in a span."),
    "mark.counts": Rule("2", True, "A mark carries frontier_ns, accesses and dropped, and neither strand nor seq."),
    "seq.whole": Rule("2", True, "The seqs of a strand are 1, 2, 3, ... without hole or repetition."),
    "seq.order": Rule("2", True, "seq is taken at the call: of one strand the later seq does not start earlier."),
    "strand.parent": Rule("2", True, "strand.parent and its seq come together; the parent, if it is in the record, "
                          "has got as far."),
    "txn.begin": Rule("2.3", True, "A transaction has one begin, before all else of it, and nothing after its end."),
    "mark.accesses": Rule("2", True, "A process has sent as many accesses as its last mark counts."),
    "secret.sent": Rule("2", True, "No value, prompt, payload or query text is in any attribute (what is named with "
                        "--planted is looked for)."),
    "mark.some": Rule("2.2", False, "Each process sends marks: else a verdict that rests on an absence has to wait for "
                      "the end of the file, and live for the limit of silence."),
    "mark.end": Rule("2", False, "A process that ends in order sends the frontier 2^63-1: else it seems silent."),
    "clock.some": Rule("2.2", False, "noclobber.clock says which clock it was: else times of two processes of a host "
                       "order only by more than 1 ms, and nothing orders across hosts."),
    "key.some": Rule("2", False, "noclobber.key_id names the key of fingerprints: else nobody notices two keys."),
    "key.one": Rule("2", False, "All processes print under one key: else their fingerprints do not compare."),
    "code.some": Rule("2", False, "code.file.path and code.line.number say where: else findings name no line."),
}  # fmt: skip
