"""Messages for chats: Slack, Discord, Microsoft Teams, as the incoming webhooks of each take them.

A name that an agent chose must not ring everybody, format, or link: Slack gets plain text elements, Discord escaped
text and no allowed mentions, Teams text runs, which know no markdown.

Source: Slack, Block Kit reference (header 150, section 3,000, field 2,000 characters); Discord, Webhook resource and
Embed limits (title 256, description 4,096, field 1,024 characters); Adaptive Cards 1.4 schema; Teams, "Workflows".
"""

import re
from typing import Any, Final

from noclobber_analyzer.alerts.words import Words, shortened

__all__ = ["discord", "slack", "teams"]

COLORS: Final = {"critical": 0xC8203C, "high": 0xDD6B20, "medium": 0xD9A514, "low": 0x8A94A3}
CARD: Final = "application/vnd.microsoft.card.adaptive"
_TEAMS_COLORS: Final = {"critical": "Attention", "high": "Attention", "medium": "Warning", "low": "Default"}
_OVER_COLOR: Final = 0x2E9E5B
_OPEN_TITLE: Final = "Open the finding"
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~@:.])")


def slack(words: Words) -> dict[str, Any]:
    """A message of blocks, with a line of text for notifications."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(words.heading, 150)}]
    if words.sentence:
        blocks.append({"type": "section", "text": _plain(words.sentence, 3_000)})
    if words.facts:
        fields = [_plain(f"{name}\n{text}", 2_000) for name, text in words.facts]
        blocks.append({"type": "section", "fields": fields[:10]})
    if words.advice:
        blocks.append({"type": "context", "elements": [_plain(words.advice, 2_000)]})
    if words.link:
        button = {"type": "button", "text": _plain(_OPEN_TITLE, 75), "url": words.link, "action_id": "open"}
        blocks.append({"type": "actions", "elements": [button]})
    # outside of blocks only these three characters mean anything
    told = shortened(words.heading, 300).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": told, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _plain(text: str, characters: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shortened(text, characters), "emoji": False}


def discord(words: Words) -> dict[str, Any]:
    """A message with one embed, which mentions nobody."""
    embed: dict[str, Any] = {
        "title": _escaped(words.heading, 256),
        "description": _escaped(words.sentence, 2_000),
        "color": _OVER_COLOR if words.is_over else COLORS.get(words.severity, COLORS["low"]),
        "fields": [
            {"name": name, "value": _escaped(text, 500), "inline": len(text) < 40}
            for name, text in (*words.facts, *((("What to change", words.advice),) if words.advice else ()))
        ],
    }
    if words.link:
        embed["url"] = words.link
    return {"content": "", "embeds": [embed], "allowed_mentions": {"parse": []}}


def _escaped(text: str, characters: int) -> str:
    """Text in which nothing is markdown, a mention or a link; the escapes count, so the text is cut before them."""
    while len(told := _MARKDOWN.sub(r"\\\1", text)) > characters:
        text = shortened(text, max(1, len(text) - (len(told) - characters + 1) // 2 - 1))
    return told


def teams(words: Words) -> dict[str, Any]:
    """A message with one adaptive card."""
    color = "Good" if words.is_over else _TEAMS_COLORS.get(words.severity, "Default")
    body = [_runs(shortened(words.heading, 300), weight="Bolder", size="Large", color=color)]
    body += [_runs(shortened(text, 4_000)) for text in (words.sentence, words.advice) if text]
    body += [
        {"type": "RichTextBlock", "spacing": "Small", "inlines": [_run(f"{name}: ", weight="Bolder"), _run(text)]}
        for name, text in words.facts
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": shortened(words.heading, 300),
        "body": body,
    }
    if words.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": _OPEN_TITLE, "url": words.link}]
    return {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": card}]}


def _runs(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [_run(text, **style)]}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}
