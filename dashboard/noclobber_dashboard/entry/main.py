"""The script that Streamlit runs for every visitor and click: the menu, then the page that was asked for."""

from noclobber_dashboard.pages import run

run()
