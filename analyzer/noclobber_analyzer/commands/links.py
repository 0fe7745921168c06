"""`--dashboard-url`: where people reach the pages, as the links in alerts say it."""

import argparse
import ipaddress
import os
from urllib.parse import urlsplit

from noclobber.cli import CommandError

__all__ = ["add_dashboard_url", "dashboard_url", "doubt"]


def add_dashboard_url(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--dashboard-url", default=os.environ.get("NOCLOBBER_DASHBOARD_URL", ""), metavar="URL",
        help="where people reach the pages, for links in alerts [NOCLOBBER_DASHBOARD_URL]",
    )  # fmt: skip


def dashboard_url(words: argparse.Namespace) -> str:
    """What was said, without a slash at its end; empty: nothing.

    Raises:
        CommandError: it is no address of pages.
    """
    url = str(words.dashboard_url).strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise CommandError(f"--dashboard-url '{url}' must be an address such as https://noclobber.example")
    return url.rstrip("/")


def doubt(url: str) -> str:
    """Why whoever is sent an alert can't follow its link; empty: nothing speaks against it."""
    advice = "Say where people reach the dashboard with --dashboard-url or NOCLOBBER_DASHBOARD_URL."
    if not url:
        return f"alerts carry no link to their finding. {advice}"
    if _is_loopback(urlsplit(url).hostname or ""):
        return f"alerts link to {url}, which is the machine of whoever reads them. {advice}"
    return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
