"""What stands for mem0's models here: scripted, without a network. Nothing here knows of noclobber."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

from mem0.embeddings.base import EmbeddingBase
from mem0.llms.base import LLMBase

DIMENSIONS = 16


class Model(LLMBase):
    """Turns each line into a fact."""

    def generate_response(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        lines = re.findall(r"fact: ([^\n]*)", str(messages[-1]["content"]))
        return json.dumps({"memory": [{"id": str(n), "text": line} for n, line in enumerate(lines)]})


class Embedder(EmbeddingBase):
    """A vector by the text's hash: equal texts are equal, others are far apart."""

    def embed(self, text: str, memory_action: Any = None) -> list[float]:
        return [each / 127.5 - 1 for each in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]

    def embed_batch(self, texts: list[str], memory_action: Any = None) -> list[list[float]]:
        return [self.embed(each) for each in texts]


def names(text: str) -> list[tuple[str, str]]:
    """Names are words that begin with a capital."""
    return [("PERSON", each) for each in re.findall(r"\b[A-Z][a-z]+\b", text)]


def config(folder: str) -> dict[str, Any]:
    """A memory in this folder."""
    return {
        "llm": {"provider": "openai", "config": {"api_key": "none"}},
        "embedder": {"provider": "openai", "config": {"api_key": "none", "embedding_dims": DIMENSIONS}},
        "vector_store": {"provider": "chroma", "config": {"path": f"{folder}/chroma"}},
        "history_db_path": f"{folder}/history.db",
    }


@contextlib.contextmanager
def scripted() -> Iterator[None]:
    """Model, embedder and what finds names in a text are ours."""
    with (
        mock.patch("mem0.memory.main.EmbedderFactory.create", return_value=Embedder()),
        mock.patch("mem0.memory.main.LlmFactory.create", return_value=Model()),
        mock.patch("mem0.memory.main.extract_entities", names),
        mock.patch("mem0.memory.main.extract_entities_batch", lambda texts: [names(each) for each in texts]),
    ):
        yield
