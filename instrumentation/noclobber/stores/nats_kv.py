"""NATS KV by nats-py: get, put, create, update, delete and purge, with the bucket's revisions.

A revision is the number of a message in the bucket's stream: it grows, jumps, and is told to readers and writers alike.
`update` insists on the revision that it was given, `create` on there being none; a refusal is `rejected`. A get of one
old revision says nothing of the present. Not recorded: watchers, `keys`, `history`.

Source: nats-py, js/kv.py; capture.md section 2.
"""

from typing import Any, Final

from noclobber.contract import ABSENT_NUMBER, Op, Outcome, VersionKind
from noclobber.resources import quoted
from noclobber.stores.revisions import Key, Told, call_async
from noclobber.stores.wrapping import Hook

__all__ = ["hooks"]

SYSTEM: Final = "nats"


def hooks(library: str) -> list[Hook]:
    """What is wrapped of a bucket."""
    from nats.js.kv import KeyValue

    def reading(original: Any) -> Any:
        async def get(self: Any, key: Any, revision: Any = None, *args: Any, **kwargs: Any) -> Any:
            def describe(entry: Any, error: BaseException | None) -> list[Told]:
                return [_read(_key(self, key, revision), entry, error)]

            return await call_async(library, lambda: original(self, key, revision, *args, **kwargs), describe)

        return get

    def writing(name: str) -> Any:
        def make(original: Any) -> Any:
            async def write(self: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
                def describe(answer: Any, error: BaseException | None) -> list[Told]:
                    told = Told(Op.WRITE, _key(self, key), _outcome(error), written=_revision(answer)).holding(value)
                    told.creates = name == "create"
                    if name == "update":
                        told.expected = int((args[0] if args else kwargs.get("last")) or 0)
                    return [told]

                return await call_async(library, lambda: original(self, key, value, *args, **kwargs), describe)

            return write

        return make

    def removing(original: Any) -> Any:
        async def delete(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
            def describe(_: Any, error: BaseException | None) -> list[Told]:
                last = args[0] if args and original.__name__ == "delete" else kwargs.get("last")
                told = Told(Op.DELETE, _key(self, key), _outcome(error), written=int(ABSENT_NUMBER))
                told.expected = int(last) if last else None
                return [told]

            return await call_async(library, lambda: original(self, key, *args, **kwargs), describe)

        return delete

    return [
        (KeyValue, "get", reading),
        *((KeyValue, name, writing(name)) for name in ("put", "create", "update")),
        (KeyValue, "delete", removing),
        (KeyValue, "purge", removing),
    ]


def _key(bucket: Any, key: Any, revision: Any = None) -> Key:
    past = f"?revision={revision}" if revision else ""  # one state of the past, which never changes
    return Key(f"nats://{quoted(bucket._name)}/{quoted(str(key))}{past}", SYSTEM, VersionKind.ORDERED)


def _revision(answer: Any) -> int | None:
    told = answer if isinstance(answer, int) else getattr(answer, "seq", None)
    return told if isinstance(told, int) else None


def _read(key: Key, entry: Any, error: BaseException | None) -> Told:
    if error is None:
        return Told(Op.READ, key, read=entry.revision).holding(entry.value)
    told = Told(Op.READ, key, Outcome.ERROR)
    return told.absent() if type(error).__name__ == "KeyNotFoundError" else told


def _outcome(error: BaseException | None) -> Outcome:
    import nats.js.errors

    if error is None:
        return Outcome.OK
    if isinstance(error, nats.js.errors.KeyWrongLastSequenceError) or _refused(error):
        return Outcome.REJECTED
    known = isinstance(error, nats.js.errors.APIError | nats.js.errors.InvalidKeyError | TypeError)
    return Outcome.ERROR if known else Outcome.UNKNOWN


def _refused(error: BaseException) -> bool:
    return getattr(error, "err_code", None) in (10071, 10164)  # what `delete` raises of it
