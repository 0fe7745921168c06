"""What a person may choose about the dashboard, and what Streamlit is told.

`DashboardSettings` is what the command line or the engine fills in. `streamlit_options` turns it into Streamlit's
own options; they are given as flags, so that no configuration file on the machine can weaken them: no usage
statistics, no file watcher, no error details in the page, cross-site and host checks on.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from noclobber.declarations import Declaration
from noclobber_dashboard.login import Login

__all__ = ["DashboardSettings", "streamlit_options"]

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")

_LIGHT: Final = {
    "primaryColor": "#2563a8",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f5f6f8",
    "textColor": "#1b1f27",
    "borderColor": "#e1e4ea",
    "codeBackgroundColor": "#f5f6f8",
}
_DARK: Final = {
    "primaryColor": "#6aa9e9",
    "backgroundColor": "#0f1216",
    "secondaryBackgroundColor": "#181c22",
    "textColor": "#e6e9ee",
    "borderColor": "#2a303a",
    "codeBackgroundColor": "#181c22",
}


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """How the dashboard is served.

    Attributes:
        host: address to listen on; one that is not this machine's own needs a token.
        port: port to listen on.
        token: what a caller must show, by `Authorization: Bearer` or by signing in; None: nothing is asked.
        allowed_hosts: further names under which a browser may ask for the dashboard (a proxy's name).
        login: how people prove who they are; None: by the token alone.
        declarations: what owners declared of their resources, to be shown; None: this process does not know.
        trace_url: template of a trace's address in the user's backend (`traces`); empty: none is linked.
        url: where people reach the pages, for links in alerts, without a slash at its end; empty: not known.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    declarations: tuple[Declaration, ...] | None = None
    login: Login | None = None
    trace_url: str = ""
    url: str = ""

    @property
    def is_local(self) -> bool:
        """True where only this machine can reach the address."""
        if self.host in LOCAL_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name that a request may carry, lower case, without a port.

        A wildcard address (0.0.0.0, ::) is no name that a browser types, so it allows none by itself. Where people are
        sent, by alerts (`url`) or back from a provider (`redirect_uri`), they are served.
        """
        own = () if self.host in ("0.0.0.0", "::", "") else (self.host,)  # noqa: S104  compared, never bound
        oidc = self.login.oidc if self.login else None
        sent = [urlsplit(each).hostname or "" for each in (self.url, oidc.redirect_uri if oidc else "") if each]
        named = (*LOCAL_NAMES, *own, *self.allowed_hosts, *sent)
        return tuple(dict.fromkeys(name.lower() for name in named if name))


def streamlit_options(settings: DashboardSettings) -> dict[str, object]:
    """Streamlit's options, in the names of its command-line flags (dots as underscores)."""
    options: dict[str, object] = {
        "server_headless": True,
        "server_address": settings.host,
        "server_port": settings.port,
        "server_fileWatcherType": "none",
        "server_enableCORS": True,
        "server_enableXsrfProtection": True,
        "server_xsrfCookieSameSite": "strict",
        "server_allowedHosts": list(settings.hosts),
        "server_enableStaticServing": False,
        "server_enableAgentApi": False,
        "server_maxUploadSize": 1,
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "none",
        "client_showErrorLinks": False,
        "client_showSidebarNavigation": True,
        "logger_hideWelcomeMessage": True,
        "runner_magicEnabled": False,
    }
    for name, colors in (("light", _LIGHT), ("dark", _DARK)):
        options |= {f"theme_{name}_{key}": value for key, value in colors.items()}
    return options | {"theme_baseRadius": "0.4rem", "theme_headingFontWeights": [650, 600, 600, 600, 600, 600]}
