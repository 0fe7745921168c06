"""etcd by etcd3gw, which speaks to the HTTP gateway: keys with their `mod_revision`, transactions, locks.

All calls pass `Etcd3Client.post`; what they ask and are answered is the gateway's JSON. The store's revision names the
state that a put made and the one that a get returns, so it grows and jumps. In a transaction a compared `mod_revision`
is a guard of the writes to that key, and a key compared with not being there is guarded as `unique`; where the
comparison failed, those writes are rejected, and what the other branch did is told beside them.

A get of an old revision says nothing of the present. Ranges are scans; a range that is deleted is partial, since it
does not say which keys it held. `Lock` is a lock with a lease. Not recorded: watches.

Source: etcd API reference v3 (KV, Txn), etcd3gw/client.py; capture.md section 2.
"""

import base64
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call, Member
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT_NUMBER, Attr, Op, Outcome, VersionKind
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import authority, quoted
from noclobber.stores.revisions import Key, Told
from noclobber.stores.wrapping import Wrapping
from noclobber.versions import fingerprint

__all__ = ["INTEGRATION"]

LIBRARY: Final = "etcd3gw"
SYSTEM: Final = "etcd"
DEFAULT_PORT: Final = 2379
RESULTS_MAX: Final = 64
ABSENT: Final = int(ABSENT_NUMBER)
UNSURE: Final = frozenset({"ConnectionTimeoutError", "ConnectionFailedError", "InternalServerError"})
_OPERATIONS: Final = {"request_range": "range", "request_put": "put", "request_delete_range": "deleterange"}
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap what makes every call, and the lock."""
    from etcd3gw.lock import Lock

    _wrapping.wrap(
        [
            (library.Etcd3Client, "post", _posting),
            (Lock, "acquire", _locking(Op.LOCK)),
            (Lock, "refresh", _locking(Op.LOCK)),
            (Lock, "release", _locking(Op.UNLOCK)),
        ]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _posting(original: Any) -> Any:
    def post(self: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        what = str(url).rpartition("/kv/")[2]
        if what not in ("range", "put", "deleterange", "txn"):
            return original(self, url, *args, **kwargs)
        start_ns = recorder.now_ns()
        try:
            answer = original(self, url, *args, **kwargs)
        except BaseException as error:
            _note(self, (what, kwargs, {}), error, start_ns)
            raise
        _note(self, (what, kwargs, answer), None, start_ns)
        return answer

    return post


def _note(client: Any, exchange: tuple[str, Any, Any], error: BaseException | None, start_ns: int) -> None:
    """How many accesses a transaction is, is known only afterwards: a call takes its numbers then."""
    with GUARD:
        active = recorder.recording()
        if active is None:
            return
        what, words, answer = exchange
        asked = words.get("json") or (json.loads(words["data"]) if words.get("data") else None)
        if not isinstance(asked, dict):
            return
        place = f"etcd://{authority(client.host, int(client.port), DEFAULT_PORT)}/"
        revision = _number(answer.get("header", {}).get("revision"))
        accesses = _Described(place, _outcome(error), revision).of(what, asked, answer)
        if accesses:
            call = active.begin(LIBRARY, len(accesses))
            call.start_ns, call.error = start_ns, error
            active.end(call, _build, accesses)


def _build(call: Call) -> Sequence[Access]:
    accesses: list[Access] = call.facts
    return accesses


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.OK
    known = type(error).__name__ not in UNSURE and isinstance(error, Exception)
    return Outcome.ERROR if known else Outcome.UNKNOWN


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, int) or (isinstance(text, str) and text.isdigit()) else None


def _bytes(text: Any) -> bytes:
    return base64.b64decode(text) if text else b""


class _Described:
    """What one request was: where, how it ended, and which revision of the store it made."""

    def __init__(self, place: str, outcome: Outcome, revision: int | None) -> None:
        self._place, self._outcome, self._revision = place, outcome, revision

    def of(self, what: str, asked: Any, answer: Any) -> list[Access]:
        """The accesses of a request."""
        if what == "txn":
            return self._transaction(asked, answer)
        return [self._one(what, asked, answer)]

    def _key(self, asked: Any) -> Key:
        name = _bytes(asked.get("key")).decode("utf-8", "backslashreplace")
        path = "/".join(map(quoted, name.split("/")))
        path = path[:-1] + "%2F" if path.endswith("/") else path  # one key, not all below it
        return Key(self._place + path, SYSTEM, VersionKind.ORDERED)

    def _one(self, what: str, asked: Any, answer: Any) -> Access:
        if what == "put":
            return self._put(asked, answer).access()
        if what == "deleterange":
            return self._delete(asked, answer).access()
        return self._scan(asked, answer) if asked.get("range_end") else self._get(asked, answer).access()

    def _put(self, asked: Any, answer: Any) -> Told:
        told = Told(Op.WRITE, self._key(asked), self._outcome).holding(_bytes(asked.get("value")))
        told.written = self._revision if self._outcome is Outcome.OK else None
        if self._outcome is Outcome.OK and asked.get("prev_kv"):
            told.overwritten = _number(answer.get("prev_kv", {}).get("mod_revision")) or ABSENT
        return told

    def _delete(self, asked: Any, answer: Any) -> Told:
        told = Told(Op.DELETE, self._key(asked), self._outcome, written=ABSENT)
        if self._outcome is Outcome.OK and not _number(answer.get("deleted")):
            told.outcome = Outcome.NO_EFFECT
        if asked.get("range_end"):
            told.more[Attr.PARTIAL] = True
        return told

    def _get(self, asked: Any, answer: Any) -> Told:
        key, past = self._key(asked), _number(asked.get("revision"))
        if past:  # one state of the past, which never changes
            key = Key(f"{key.resource}?revision={past}", key.system, key.kind)
        told = Told(Op.READ, key, self._outcome if self._outcome is Outcome.OK else Outcome.ERROR)
        if told.outcome is not Outcome.OK:
            return told
        found = answer.get("kvs") or []
        if not found:
            return told.absent()
        told.read = _number(found[0].get("mod_revision"))
        bare = asked.get("keys_only") or asked.get("count_only")
        return told if bare else told.holding(_bytes(found[0].get("value")))

    def _scan(self, asked: Any, answer: Any) -> Access:
        found = [(self._key(each).resource, str(each.get("mod_revision"))) for each in answer.get("kvs") or ()]
        kept = found[:RESULTS_MAX]
        attributes: dict[str, AttributeValue] = {
            Attr.PREDICATE: fingerprint(_bytes(asked.get("key")) + b"\0" + _bytes(asked.get("range_end"))),
            Attr.RESULT_RESOURCES: tuple(name for name, _ in kept),
            Attr.RESULT_VERSIONS: tuple(version for _, version in kept),
            Attr.RESULT_COUNT: len(found),
            Attr.VERSION_KIND: VersionKind.ORDERED,
        }
        if answer.get("more") or len(found) > RESULTS_MAX or asked.get("revision"):
            attributes[Attr.PARTIAL] = True
        members = () if asked.get("revision") else tuple(Member(*each) for each in found)
        outcome = Outcome.OK if self._outcome is Outcome.OK else Outcome.ERROR
        return Access(Op.SCAN, self._place, SYSTEM, outcome, attributes=attributes, members=members)

    def _transaction(self, asked: Any, answer: Any) -> list[Access]:
        compared = {each.get("key"): each for each in asked.get("compare") or ()}
        if self._outcome is not Outcome.OK:
            return [self._guarded(each, {}, compared) for each in _requests(asked, "success") if _writes(each)]
        done = "success" if answer.get("succeeded") else "failure"
        answers = answer.get("responses") or ()
        accesses = []
        for number, request in enumerate(_requests(asked, done)):
            reply: Any = next(iter(answers[number].values()), {}) if number < len(answers) else {}
            accesses.append(self._guarded(request, reply, compared if done == "success" else {}))
        if done == "failure":
            refused = _Described(self._place, Outcome.REJECTED, None)
            accesses += [refused._guarded(each, {}, compared) for each in _requests(asked, "success") if _writes(each)]
        return accesses

    def _guarded(self, request: tuple[str, Any], reply: Any, compared: dict[str, Any]) -> Access:
        """One operation of a transaction, with what was compared of its key."""
        what, asked = request
        if what not in ("put", "deleterange"):
            return self._one(what, asked, reply or {})
        told = self._put(asked, reply or {}) if what == "put" else self._delete(asked, reply or {})
        comparison = compared.get(asked.get("key"), {})
        if comparison.get("result", "EQUAL") != "EQUAL":
            return told.access()
        target = comparison.get("target")
        if target in ("CREATE", "VERSION", "MOD") and not _compared(comparison):
            told.creates = True
        elif target == "MOD":
            told.expected = _compared(comparison)
        return told.access()


def _compared(comparison: Any) -> int | None:
    names = {"CREATE": "create_revision", "VERSION": "version", "MOD": "mod_revision"}
    return _number(comparison.get(names[comparison["target"]]) or 0)


def _requests(asked: Any, branch: str) -> list[tuple[str, Any]]:
    return [
        (_OPERATIONS[name], request)
        for each in asked.get(branch) or ()
        for name, request in each.items()
        if name in _OPERATIONS
    ]


def _writes(request: tuple[str, Any]) -> bool:
    return request[0] in ("put", "deleterange")


# -- locks ---------------------------------------------------------------------------------------------------------


def _locking(op: Op) -> Any:
    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            call, name = None, ""
            with GUARD:
                client = self.client
                name = f"etcd://{authority(client.host, int(client.port), DEFAULT_PORT)}/" + "/".join(
                    map(quoted, str(self.key).split("/"))
                )
                call = holding.begin(LIBRARY, op, name, SYSTEM)
                if call is not None:
                    call.strand.suppressed += 1
                if op is Op.UNLOCK:
                    holding.drop(strands.current(), name)
            if call is None:
                return original(self, *args, **kwargs)
            done, failed = None, None
            try:
                done = original(self, *args, **kwargs)
                return done
            except BaseException as error:
                failed = error
                raise
            finally:
                with GUARD:
                    call.strand.suppressed -= 1
                    outcome = _outcome(failed) if failed is not None else Outcome.OK if done else Outcome.REJECTED
                    fact = holding.Fact(op, name, SYSTEM, call.strand.id, outcome, ttl_ms=int(self.ttl * 1000))
                    holding.end(call, fact, failed)
                    if op is Op.LOCK and outcome is Outcome.OK:
                        holding.drop(call.strand, name)  # a renewal is the same hold
                        holding.take(call.strand, name)

        return method

    return make


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
