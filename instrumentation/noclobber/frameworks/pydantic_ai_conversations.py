"""Conversation stores of Pydantic AI: one record for each conversation, which every save replaces.

A record has a revision that changes on every save, and a store refuses a save that expects another one. So each state
has a name (`chain`), each save says what it was computed from (`explicit`), and of two saves from one revision the
second is `rejected`: it is defended by the framework itself. Every concrete store is wrapped, where its records are
read, written and deleted.

Source: pydantic_ai/conversation_store.py (2.68); contract 2.1.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.access import AttributeValue
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, BaseSource, Guard, Op, Outcome, VersionKind
from noclobber.frameworks import places
from noclobber.frameworks.seams import Seams, arecorded
from noclobber.frameworks.states import Told, ended, starting
from noclobber.resources import uri
from noclobber.stores.wrapping import knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pydantic-ai"
SYSTEM: Final = "pydantic_ai.conversation"
_REFUSALS: Final = frozenset({"ConversationConflict"})

_seams = Seams(LIBRARY)


@knowing("pydantic-ai-conversations")
def install(library: ModuleType) -> None:
    """Wrap all stores."""
    _seams.watch(library.ConversationStore, _patch)


def _patch(store: type) -> None:
    for name, tell in (("read_record", _read), ("write_record", _write), ("delete_record", _delete)):
        _seams.wrap(store, name, arecorded(starting(_seams, tell), ended))


def _resource(store: Any, conversation: str) -> str:
    """A store in memory is this process's; where another one writes is not known here."""
    in_memory = any(each.__name__ == "InMemoryConversationStore" for each in type(store).__mro__)
    return uri(LIBRARY, "conversation", *([places.of_object(store)] if in_memory else []), conversation)


def _read(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    conversation = args[0] if args else kwargs["conversation_id"]
    return Told(Op.READ, _resource(store, conversation), SYSTEM, learn=_got)


def _got(told: Told, record: Any) -> None:
    told.outcome = Outcome.OK if record is not None else Outcome.NOT_FOUND
    told.attributes[Attr.VERSION_KIND] = VersionKind.CHAIN
    told.attributes[Attr.VERSION_READ] = record.revision if record is not None else ABSENT


def _write(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    record = args[0] if args else kwargs["record"]
    attributes = _computed(store, kwargs["expected_revision"], record.revision)
    return Told(Op.WRITE, _resource(store, record.conversation_id), SYSTEM, attributes, refusals=_REFUSALS)


def _delete(store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
    conversation = args[0] if args else kwargs["conversation_id"]
    attributes = _computed(store, kwargs["expected_revision"], ABSENT)
    return Told(Op.DELETE, _resource(store, conversation), SYSTEM, attributes, refusals=_REFUSALS)


def _computed(store: Any, expected: str | None, written: str) -> dict[str, AttributeValue]:
    """A store of the framework's own compares; whether another one does is seen where it refuses."""
    attributes: dict[str, AttributeValue] = {
        Attr.VERSION_KIND: VersionKind.CHAIN,
        Attr.VERSION_BASE: expected or ABSENT,
        Attr.VERSION_BASE_SOURCE: BaseSource.EXPLICIT,
        Attr.VERSION_EXPECTED: expected or ABSENT,
        Attr.VERSION_WRITTEN: written,
    }
    if type(store).__module__.startswith("pydantic_ai."):
        attributes[Attr.GUARD] = Guard.VERSION
    return attributes


INTEGRATION: Final = Integration("pydantic-ai-conversations", install, _seams.restore)
