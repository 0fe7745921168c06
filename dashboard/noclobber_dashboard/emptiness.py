"""What a page says when there is nothing to show: why, and the one command that changes it."""

from noclobber_dashboard.components.prose import Node, prose

__all__ = ["RUN_SNIPPET", "nothing_here"]

RUN_SNIPPET = "noclobber run --agent planner -- python your_agent.py"


def nothing_here(title: str, words: str, snippet: str = "") -> None:
    """Say that there is nothing, why, and what to do next; the snippet can be copied."""
    copyable = Node(
        "div", "copyline", (Node("pre", children=(snippet,)), Node("button", copy=snippet, children=("copy",)))
    )
    prose(
        [
            Node(
                "div",
                "empty",
                (
                    Node("h2", children=(title,)),
                    Node("p", "quiet", (words,)),
                    *([copyable] if snippet else []),
                ),
            )
        ],
        key=f"empty-{title}",
    )
