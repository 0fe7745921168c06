"""The menu, and what all pages share: width, icon, what is shown where something fails.

Pages are functions; each reads its own part of the store. The page of one finding has no entry in the menu: it is
reached by its link, `/finding?id=...`, which is what alerts carry.
"""

from pathlib import Path
from typing import Final

import streamlit as st

from noclobber_dashboard.pages import (
    agents,
    finding,
    findings,
    health,
    issues,
    latent,
    live,
    overview,
    resources,
    settings,
)
from noclobber_dashboard.pages.boundary import guarded

__all__ = ["PARTS", "run"]

PARTS: Final = (overview.PART, live.PART, health.PART)
"""What keeps itself fresh while it is shown."""

_ICON: Final = str(Path(__file__).parent.parent / "icon.png")
SIDEBAR_WIDTH: Final = 208
_WORDMARK: Final = str(Path(__file__).parent.parent / "wordmark.svg")
_STYLE: Final = """<style>
.stMainBlockContainer { padding: 2.1rem 2.4rem 3rem; max-width: 1500px; }
.stAppHeader { background: transparent; height: 2.4rem; min-height: 2.4rem; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding: 2.6rem 0.9rem 2rem; }
  /* tiles two by two: one below the other they would push everything else off a telephone's screen */
  .stColumn:has([data-testid="stMetric"]) { min-width: calc(50% - 0.5rem); flex: 1 1 calc(50% - 0.5rem); }
}
[data-testid="stMetricValue"] { font-size: 1.75rem; font-variant-numeric: tabular-nums; }
/* Streamlit's own export of a table leaves formulas in cells: files come from the API, where they are text */
[data-testid="stElementToolbar"] button[aria-label^="Download as CSV"] { display: none; }
[data-testid="stSidebarNav"] { padding-top: 0.5rem; }
</style>"""


def run() -> None:
    """Show the page that the address names."""
    st.set_page_config(page_title="noclobber", page_icon=_ICON, layout="wide", initial_sidebar_state=SIDEBAR_WIDTH)
    st.html(_STYLE)
    st.logo(_WORDMARK, size="large", icon_image=_ICON)
    page = st.navigation(
        {
            "Watch": [
                st.Page(guarded(overview.render), title="Overview", icon=":material/monitoring:", default=True,
                        url_path="overview"),
                st.Page(guarded(findings.render), title="Findings", icon=":material/warning:", url_path="findings"),
                st.Page(guarded(issues.render), title="Issues", icon=":material/inbox:", url_path="issues"),
                st.Page(guarded(latent.render), title="Latent races", icon=":material/hourglass_empty:",
                        url_path="latent"),
                st.Page(guarded(resources.render), title="Resources", icon=":material/database:",
                        url_path="resources"),
                st.Page(guarded(agents.render), title="Agents", icon=":material/groups:", url_path="agents"),
                st.Page(guarded(live.render), title="Live", icon=":material/stream:", url_path="stream"),
                st.Page(guarded(finding.render), title="Finding", url_path="finding", visibility="hidden"),
            ],
            "Operate": [
                st.Page(guarded(health.render), title="Health", icon=":material/vital_signs:", url_path="health"),
                st.Page(guarded(settings.render), title="Settings", icon=":material/settings:", url_path="settings"),
            ],
        }
    )  # fmt: skip
    page.run()
