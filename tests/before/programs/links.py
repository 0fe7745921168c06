"""mem0#6243 and #5553: two deletions read the memories that an entity is linked to, and each writes the list back.

On Qdrant, where mem0 keeps the entities by default. Mended: one change of entities at a time.
"""

import contextlib
import threading
import time
import warnings

from qdrant_client import QdrantClient, models

HOW = "plain"
ENTITIES, ALICE = "entities", 7
warnings.simplefilter("ignore")
turn = threading.Lock()


def unlink(client: QdrantClient, memory: str) -> None:
    """A memory was deleted: its entity is linked to it no more."""
    with turn if HOW == "mended" else contextlib.nullcontext():
        (entity,) = client.retrieve(ENTITIES, [ALICE])
        linked = [each for each in entity.payload["linked_memory_ids"] if each != memory]
        client.set_payload(ENTITIES, {"linked_memory_ids": linked}, [ALICE])


store = QdrantClient(":memory:")
store.create_collection(ENTITIES, models.VectorParams(size=2, distance=models.Distance.DOT))
alice = {"data": "alice", "linked_memory_ids": ["memory-of-tea", "memory-of-sugar", "memory-of-milk"]}
store.upsert(ENTITIES, [models.PointStruct(id=ALICE, vector=[0.1, 0.2], payload=alice)])
threads = [
    threading.Thread(target=unlink, args=(store, memory), name=f"delete-{memory}")
    for memory in ("memory-of-tea", "memory-of-sugar")
]
for thread in threads:
    thread.start()
    time.sleep(0.02)
for thread in threads:
    thread.join()
store.close()
