"""Where alerts link to: what is taken as the dashboard's address, and what is said of one that leads nowhere."""

import argparse

import pytest

from noclobber.cli import CommandError
from noclobber_analyzer.commands.links import add_dashboard_url, dashboard_url, doubt


def typed(*words: str) -> str:
    parser = argparse.ArgumentParser()
    add_dashboard_url(parser)
    return dashboard_url(parser.parse_args(words))


def test_the_address_comes_from_the_flag_then_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the slash at its end, which would stand twice in a link; an empty one is none."""
    assert typed() == ""
    monkeypatch.setenv("NOCLOBBER_DASHBOARD_URL", "https://board.example/nc/")
    assert typed() == "https://board.example/nc"
    assert typed("--dashboard-url", "http://10.0.0.5:8501") == "http://10.0.0.5:8501"
    assert typed("--dashboard-url", "") == ""


@pytest.mark.parametrize(
    "url",
    ["board.example", "//board.example", "ftp://board.example", "https://", "https://:8501", "https://board.example?x=1",
     "https://board.example#x", "https://ann:secret@board.example", "https://board.example:99999", "https://[x",
     "javascript:alert(1)", "https://board.example/a b", "https://board.example/\x07"],
)  # fmt: skip
def test_what_is_no_address_of_pages_is_refused(url: str) -> None:
    """With an example of one."""
    with pytest.raises(CommandError, match="such as https://noclobber"):
        typed("--dashboard-url", url)


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://board.example", ""), ("http://10.0.0.5:8501", ""), ("http://[2001:db8::1]:8501", ""),
     ("", "no link"), ("http://127.0.0.1:8501", "the machine of whoever"),
     ("http://127.1.2.3", "the machine of whoever"),
     ("http://localhost:8501", "the machine of whoever"), ("http://[::1]:8501", "the machine of whoever"),
     ("http://0.0.0.0:8501", "the machine of whoever")],
)  # fmt: skip
def test_a_link_that_others_cannot_follow_is_doubted(url: str, said: str) -> None:
    """In one line that names what to set."""
    found = doubt(url)
    assert (said in found, bool(found)) == (True, bool(said))
    assert not found or "NOCLOBBER_DASHBOARD_URL" in found
