"""The real defects that are rebuilt here: where each was reported, what it loses, on which library, and what mends it.

A defect is a small program in `programs`, which knows nothing of noclobber (`memories` alone keeps its state in
`noclobber.tracked`, since nobody else can see what a process keeps to itself). What is known of it from its report is
here; what chaos and `confirm` make of it is measured by `test_defects` and kept in `results`.

Source: detection.md 10.
"""

from dataclasses import dataclass

__all__ = ["DEFECTS", "SAMPLE", "Defect"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect.

    Attributes:
        name: of its program. reports: `owner/repository#number`. kind: of the finding. lost: what it costs.
        fix: how the mended program does it. library: distribution whose accesses race. words: the program's arguments;
            `{valkey}`, `{postgres}`, `{nats}` are servers, `{folder}` is a folder of its own.
        latent: whether a lucky run foretells it; else `confirm` is given what chaos brought out.
        module: what must be importable beside what the other tests need; "": nothing.
        where: the nox session that has it.
    """

    name: str
    reports: tuple[str, ...]
    kind: str
    lost: str
    fix: str
    library: str
    words: tuple[str, ...] = ()
    latent: bool = True
    module: str = ""
    where: str = "defects"


SAMPLE = Defect(
    "accounts", ("pydantic/pydantic-ai#4322",), "lost_update", "what a tool had noted in the session",
    "WATCH and MULTI", "redis", ("{valkey}",),
)  # fmt: skip
"""What the default tests show in short; in the table `memories` and `sessions` stand for it."""

DEFECTS = (
    Defect(
        "forks", ("langchain-ai/langgraph#6728",), "fork",
        "one of two runs of a thread: its checkpoints are continued by nobody", "one run of a thread at a time",
        "langgraph-checkpoint-sqlite", ("{folder}/checkpoints.db",), latent=False,
    ),
    Defect(
        "pending", ("langchain-ai/langgraph#8115",), "lost_update", "what a parallel node had noted as pending",
        "an item for each node", "langgraph",
    ),
    Defect(
        "dispatch", ("langchain-ai/langgraph#7417",), "duplicate_delivery",
        "money: a tool that is slow runs twice", "what the tool does is told once for each run", "redis",
        ("{valkey}",), latent=False,
    ),
    Defect(
        "memories", ("pydantic/pydantic-ai#4322",), "lost_update", "the amount of one of two tool calls",
        "a lock from the read to the write", "noclobber",
    ),
    Defect(
        "deltas", ("google/adk-python#5244",), "lost_update", "what the other invocation had put into the user's state",
        "a key for each invocation", "google-adk", module="google.adk", where="frameworks",
    ),
    Defect(
        "links", ("mem0ai/mem0#6243", "mem0ai/mem0#5553"), "lost_update",
        "one of two deletions: the entity stays linked to what is gone", "one change of entities at a time",
        "qdrant-client", module="qdrant_client", where="frameworks",
    ),
    Defect(
        "conversations", ("openai/openai-agents-python#3820",), "lost_update",
        "a conversation: its turns go to one that the session forgot", "the id is created, and refused the second time",
        "nats-py", ("{nats}",), latent=False,
    ),
    Defect(
        "retries", ("strands-agents/harness-sdk#1176",), "interleaved_writes",
        "the order of a conversation: the answer of one turn stands under another's question",
        "a turn's messages in one append", "redis", ("{valkey}",), latent=False,
    ),
    Defect(
        "starts", ("NousResearch/hermes-agent#45534",), "check_then_act",
        "a user's patience: two agents answer every message", "a unique constraint", "asyncpg", ("{postgres}",),
        latent=False,
    ),
    Defect(
        "resumes", ("aegra/aegra#253",), "double_claim", "one word of a person is taken for two: it is paid twice",
        "the status in the UPDATE's condition", "sqlalchemy", ("{sqlalchemy}",), latent=False,
    ),
    Defect(
        "limits", ("multica-ai/multica#2637",), "write_skew", "the limit: two tasks run where one may",
        "SELECT .. FOR UPDATE of the agent's row", "psycopg", ("{postgres}",), latent=False,
    ),
    Defect(
        "orders", ("Illospace/illospace#575",), "deadlock", "both runs, which wait for each other",
        "one order of locking", "redis", ("{valkey}",),
    ),
    Defect(
        "cleanups", ("alibaba/spring-ai-alibaba#4790",), "lost_update", "the state of the run that came next",
        "WATCH and MULTI around the deletion", "redis", ("{valkey}",),
    ),
    Defect(
        "consolidate", ("odysseus-dev/odysseus#1940",), "lost_update", "what was remembered while the model thought",
        "the model's decision is applied to a fresh copy, under a lock", "filelock", ("{folder}/memory.json",),
    ),
    Defect(
        "editors", ("anthropics/claude-code#43138",), "lost_update", "the lines of the agent before",
        "a lock file", "filelock", ("{folder}/notes.txt",),
    ),
    Defect(
        "configs", ("anthropics/claude-code#28922",), "lost_update", "a key of the common configuration",
        "a lock file", "filelock", ("{folder}/config.json",),
    ),
    Defect(
        "plans", ("genlayerlabs/genlayer-studio#1532",), "lost_update", "a worker's item in the plan",
        "a version column", "sqlalchemy", ("sqlite:///{folder}/plans.db",),
    ),
    Defect(
        "tickets", ("librefang/librefang#5961",), "double_claim", "work: two schedulers run one task",
        "BEGIN IMMEDIATE", "sqlite3", ("{folder}/tickets.db",),
    ),
    Defect(
        "sessions", ("pallets-eco/flask-session#71",), "lost_update", "what the other request put into the session",
        "a list of the server's beside the session", "flask-session", ("{valkey}",), module="flask_session",
    ),
    Defect(
        "jobs_again", ("celery/celery#3270",), "duplicate_delivery", "a count: the order is counted twice",
        "what a task has done is told once for each task", "celery", ("{valkey}",), latent=False,
    ),
)  # fmt: skip
