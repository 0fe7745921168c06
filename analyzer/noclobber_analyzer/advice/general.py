"""Advice that holds for any store."""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE", "LAST_RESORT"]

LAST_RESORT: Final = ("Make what must happen together one step that the store checks.", "")

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "Let the store refuse a write whose base is no longer current, then read again, decide again and retry; or "
        "hold one lock from the read to the write.",
        "while True:\n    value, version = store.get('{key}')\n    new = decide(value)\n"
        "    if store.put('{key}', new, if_version=version):\n        break",
    ),
    Kind.FORK: (
        "Let one writer at a time continue '{key}', or let the store refuse a second child of one version.",
        "async with writer_of('{key}'):\n    parent = latest('{key}')\n    put(child_of(parent))",
    ),
    Kind.STALE_WRITE: (
        "Read again after the slow step, or let the write also check the version of what it was decided from.",
        "basis, version = store.get(basis_key)\nplan = model(basis)  # slow\n"
        "store.put('{key}', plan, only_if={basis_key: version})  # refused: read and decide again",
    ),
    Kind.BLIND_OVERWRITE: (
        "If several agents own '{key}', read it first and make the write conditional; if it is meant to be replaced, "
        'declare it: policy = "last_writer_wins".',
        '[[resource]]\npattern = "..."\npolicy = "last_writer_wins"',
    ),
    Kind.DIRTY_READ: (
        "Read only what is committed: raise the reader's isolation level.",
        "with store.transaction(isolation='read committed') as view:\n    value = view.get('{key}')",
    ),
    Kind.DOUBLE_CLAIM: (
        "Claim in one step that the store decides, and stop if it says that there was nothing to claim.",
        "if not store.claim(task.id, worker=me):\n    return  # somebody else has it: do not go on",
    ),
    Kind.INTERMEDIATE_READ: (
        "Let nobody see '{key}' half changed: write the result once, or in one transaction whose readers see only "
        "what is committed.",
        "new = complete(store.get('{key}'))\nstore.put('{key}', new)  # once, whole",
    ),
    Kind.NON_REPEATABLE_READ: (
        "Read '{key}' once and keep what was read; or take one snapshot for the whole unit and let the store refuse "
        "writes that rest on an older one.",
        "value = store.get('{key}')  # once; what follows uses `value`",
    ),
    Kind.PHANTOM_READ: (
        "Ask once and keep the result; or take one snapshot for the whole unit, and let a constraint hold what must "
        "be true of the set.",
        "found = store.find(predicate)  # once; what follows uses `found`",
    ),
    Kind.DUPLICATE_DELIVERY: (
        "A queue hands out again what was not acknowledged in time: keep the ids of handled messages with what they "
        "changed, in one transaction, and drop what is known; or acknowledge only after the change.",
        "with db.begin():\n    if not db.insert_if_new('handled', message.id):\n        return  # handled before\n"
        "    apply(message)",
    ),
    Kind.DUPLICATE_EFFECT: (
        "Send an idempotency key made of run and step, the same at each attempt. A tool call's id is none: the model "
        "makes a new one each turn.",
        "tool.call(arguments, idempotency_key=f'{run_id}:{step}')",
    ),
    Kind.LOST_MESSAGE: (
        "Move the position (commit the offset, acknowledge) only after the message was applied, in one transaction "
        "with what it changed where the store can; after an abort seek back to where the transaction began.",
        "message = consumer.poll()\napply(message)\nconsumer.commit(message)  # never before",
    ),
    Kind.OUT_OF_ORDER: (
        "Keep the highest number that was applied for each key, and drop lower ones; let one handler at a time work on "
        "one key.",
        "if message.position <= applied[key]:\n    return  # a newer one was applied already",
    ),
    Kind.LOCK_VIOLATION: (
        "Hand the lock's token to the store and let it refuse lower ones; renew the lease while a slow call runs; "
        "unlock only what is held still. Whoever changes '{key}' has to hold the lock.",
        "token = lock.acquire()\nstore.write('{key}', value, fence=token)  # the store refuses lower ones",
    ),
    Kind.DEADLOCK: (
        "Take what is needed in one order everywhere, or all at once; wait with a limit, give back what is held, and "
        "try again after a random pause.",
        "for name in sorted(needed):\n    if not locks[name].acquire(timeout=5):\n        release_all(); retry_later()",
    ),
    Kind.CHECK_THEN_ACT: (
        "Let one step of the store check and act: a unique key made of what must be once, a conditional write, or one "
        "lock from the check to the act; read again after a slow call.",
        "key = hash(content)  # the store refuses a second one\nstore.insert_if_absent(key, content)",
    ),
    Kind.INTERLEAVED_WRITES: (
        "Append what belongs together in one call or one transaction, or hold one lock for each '{key}' from the first "
        'append to the last. Where any order is right, declare it: policy = "append_only".',
        "store.append('{key}', [question, answer])  # one call, one piece",
    ),
    Kind.DIRTY_WRITE: (
        "Let nobody write over what is not committed: lock what a transaction writes until it ends.",
        "with store.transaction() as change:\n    change.lock('{key}')  # until the commit\n"
        "    change.put('{key}', value)",
    ),
    Kind.CIRCULAR_INFORMATION_FLOW: (
        "Read only what is committed, and end what others may read before reading what they made.",
        "with store.transaction(isolation='read committed') as change:\n"
        "    value = change.get(theirs)  # committed, or not there\n    change.put(ours, decide(value))",
    ),
    Kind.READ_SKEW: (
        "Read what belongs together from one snapshot: in one transaction, one multi-key read, or under one version.",
        "with store.snapshot() as view:\n    one, other = view.get_many(keys)",
    ),
    Kind.LONG_FORK: (
        "Read what belongs together from one snapshot that all readers share; two replicas that apply changes in "
        "different orders give none.",
        "with store.snapshot() as view:  # of one replica, or of all\n    one, other = view.get_many(keys)",
    ),
    Kind.WRITE_SKEW: (
        "Let both write something in common: a version of the whole, or the rows that they only read; or let the store "
        "run them one after the other.",
        "with store.transaction(isolation='serializable') as change:  # refused: retry\n"
        "    if allowed(change.get_many(keys)):\n        change.put('{key}', value)",
    ),
    Kind.SERIALIZATION_CYCLE: (
        "Let the store run these units one after the other, or let each check at its end that what it read holds.",
        "with store.transaction(isolation='serializable') as change:  # refused: retry\n"
        "    change.put('{key}', decide(change.get_many(keys)))",
    ),
    Kind.INVARIANT_VIOLATION: (
        "Let the store itself refuse what must not be: a constraint, a quota, a conditional write. If the rule has "
        "changed, change the declaration.",
        "store.put('{key}', value, only_if=rule_holds)  # the store refuses the rest",
    ),
    Kind.READ_YOUR_WRITES: (
        "Read '{key}' where it was written: from the primary, or with the token that the write returned; or go on with "
        "what was written instead of reading it again.",
        "token = store.put('{key}', value)\nstore.get('{key}', at_least=token)",
    ),
    Kind.MONOTONIC_READS: (
        "Keep one agent's reads of '{key}' on one replica, or pass on the version that it has seen and let the store "
        "answer nothing older.",
        "value, seen = store.get('{key}', at_least=seen)",
    ),
    Kind.MONOTONIC_WRITES: (
        "Wait for each write of '{key}' before the next one, or let the store refuse a write that comes too late.",
        "await store.put('{key}', first)  # answered, before the next one\nawait store.put('{key}', second)",
    ),
    Kind.WRITES_FOLLOW_READS: (
        "Pass on, with what is written, the versions that it rests on, and let readers wait for them.",
        "value, seen = store.get('{key}')\nstore.put(answer_key, answer, rests_on=seen)",
    ),
    Kind.CAUSAL_VIOLATION: (
        "Pass the version that one agent has seen on to the next one with the message, and read nothing older.",
        "send(message, seen=version)\n# and whoever receives it\nstore.get('{key}', at_least=message.seen)",
    ),
    Kind.STALE_READ: (
        "Read '{key}' from the primary, or wait until the replica, cache or index has the write; if older states are "
        'fine here, declare it: policy = "cache".',
        '[[resource]]\npattern = "..."\npolicy = "cache"',
    ),
    Kind.GARBAGE_READ: (
        "Find who writes '{key}' besides the writers that are known, or what damages it on the way.",
        "noclobber run --agent NAME -- COMMAND  # each process that may write it",
    ),
    Kind.UNKNOWN_WRITER: (
        "Instrument the writer of '{key}' that is missing, so that what it loses or overwrites can be seen.",
        "noclobber run --agent NAME -- COMMAND",
    ),
}
