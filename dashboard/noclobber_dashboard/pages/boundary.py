"""What a page shows where the store does not answer: one clear sentence, and itself again once it does.

Nothing of an error reaches a browser but words of our own; the whole of it goes to the log. The page asks again every
few seconds, so that nobody has to reload it.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Final

import streamlit as st

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.serving import served

__all__ = ["guarded"]

RETRY_S: Final = 3
_LOG = logging.getLogger(__name__)


def guarded(render: Callable[[], None]) -> Callable[[], None]:
    """A page or a part of it, with words instead of a traceback."""

    @wraps(render)
    def page() -> None:
        try:
            render()
        except StoreUnreachableError as error:
            _LOG.warning("the store does not answer %s: %s", render.__module__, error)
            _say(
                "The store does not answer",
                "What agents send is kept by the collector meanwhile. This page comes back by itself.",
            )
            _again()
        except StoreError:
            _LOG.warning("the store refused what %s asked", render.__module__, exc_info=True)
            _say("The store could not answer", "It is there, but it refused or took too long. Try again in a moment.")
        except Exception as error:
            if type(error).__module__.startswith("streamlit"):
                raise  # how Streamlit itself stops or restarts a run
            _LOG.exception("%s could not be shown", render.__module__)
            _say("This page could not be shown", "That is a mistake in noclobber; its log has the details.")

    return page


def _say(title: str, words: str) -> None:
    doctor = Node("p", children=("Run ", Node("code", children=("noclobber doctor",)), " to see why."))
    prose([Node("h1", children=(title,)), Node("p", "lead", (words,)), doctor], key="page-failed")


@st.fragment(run_every=RETRY_S)
def _again() -> None:
    try:
        served().queries.ping()
    except StoreError:
        return
    st.rerun()
