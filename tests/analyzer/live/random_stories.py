"""Random stories of all sorts of facts in one history: what reads and writes is mixed with whatever agents do besides.

Four strands over three resources: reads of what stands there or of what stood there before, changes, blind writes,
updates in place, inserts, scans, transactions that commit or not, locks that are refused and lost, messages, tasks,
effects, strands that are started and waited for. Each story is one line of the tiny language (`story`).
"""

from random import Random

__all__ = ["random_story"]

VERBS = (
    *["read"] * 5, *["change"] * 5, "blind", "update", "insert", "scan", "delete", "begin", "end", "end", "lock",
    "lock", "unlock", "send", "receive", "receive", "ack", "nack", "task", "effect", "effect", "spawn", "join", "model",
)  # fmt: skip


class _Teller:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._made = {name: ["1"] for name in "xyz"}
        self._seen: dict[tuple[str, str], str] = {}
        self._next = self._token = 1
        self._inside: set[str] = set()
        self._held: dict[str, tuple[str, int]] = {}
        self._sent: list[int] = []
        self._got: dict[str, int] = {}
        self._started: set[str] = set()

    def word(self) -> str:
        rng, verb = self._rng, self._rng.choice(VERBS)
        who, of = rng.choice("ABCD"), rng.choice("xxyz")
        match verb:
            case "read":
                self._seen[who, of] = rng.choice(self._made[of][-2:] + self._made[of][-1:])
                return f"{who}r{of}{self._seen[who, of]}"
            case "change" | "blind" | "insert" | "task" | "update" | "delete":
                return self._write(who, of, verb)
            case "scan":
                return f"{who}qx{self._made['x'][-1]}y{self._made['y'][-1]}"
            case "begin" if who not in self._inside:
                self._inside.add(who)
                return f"{who}[{rng.choice(['', '', 's', 'r'])}"
            case "end" if who in self._inside:
                self._inside.discard(who)
                return f"{who}{rng.choice([']', ']', '}'])}"
            case "lock" | "unlock":
                return self._lock(who, verb)
            case "send" | "receive" | "ack" | "nack":
                return self._message(who, verb)
            case "effect":
                return f"{who}f{rng.choice('gh')}" + rng.choice(["", "<k", "<k"])
            case "spawn" if who != "E" and "E" not in self._started:
                self._started.add("E")
                return f"{who}*E Erx{self._made['x'][-1]}"
            case "join" if "E" in self._started:
                return f"{who}+E"
            case "model":
                return f"{who}m"
        return ""

    def _write(self, who: str, of: str, verb: str) -> str:
        over, base = self._made[of][-1], self._seen.get((who, of), self._made[of][-1])
        self._next += 1
        made = str(self._next)
        if verb == "delete":
            return f"{who}d{of}<{base}"
        self._made[of].append(made)
        self._seen[who, of] = made
        told = self._rng.choice([f"^{over}", ""])
        match verb:
            case "change":
                return f"{who}w{of}{made}<{base}{told}" + self._rng.choice(["", "", "", "!rejected", "!unknown", "?"])
            case "insert":
                return f"{who}i{of}{made}<{base}"
            case "task" if self._sent:
                return f"{who}t{of}{self._rng.choice(self._sent)}"
            case "update":
                return f"{who}u{of}{made}"
        return f"{who}w{of}{made}"

    def _lock(self, who: str, verb: str) -> str:
        lock = self._rng.choice("ab")
        if verb == "unlock" and lock in self._held:
            holder, token = self._held.pop(lock)
            return f"{self._rng.choice([holder, holder, holder, who])}n{lock}{token}"
        if verb == "lock" and lock in self._held and self._rng.random() < 0.8:
            return f"{who}l{lock}>{self._held[lock][0]}!rejected"
        if verb == "lock":
            self._token += 1
            self._held[lock] = who, self._token
            return f"{who}l{lock}{self._token}"
        return ""

    def _message(self, who: str, verb: str) -> str:
        if verb == "send":
            self._sent.append(len(self._sent) + 1)
            return f"{who}s{self._sent[-1]}"
        if verb == "receive" and self._sent:
            self._got[who] = self._rng.choice(self._sent)
            return f"{who}g{self._got[who]}"
        if verb in ("ack", "nack") and who in self._got:
            return f"{who}{'k' if verb == 'ack' else 'j'}{self._got[who]}"
        return ""


def random_story(rng: Random, length: int) -> str:
    """A story of about so many words, some of which overlap."""
    teller, words, together = _Teller(rng), [], False
    for _ in range(length):
        word = teller.word()
        if not word:
            continue
        if " " not in word and not together and rng.random() < 0.15:
            words.append("(")
            together = True
        words.append(word)
        if together and rng.random() < 0.5:
            words.append(")")
            together = False
    return " ".join([*words, ")"] if together else words)
