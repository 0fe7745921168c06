"""A store with the sample in it, and the application over it."""

from typing import Any

import pytest
import sample
from assembled import TOKEN, Away, application
from starlette.testclient import TestClient

from noclobber_dashboard.parts import Parts
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.serving import serve
from noclobber_dashboard.settings import DashboardSettings


@pytest.fixture(scope="module")
def filled(real_store: Any) -> Any:
    """The real store with the bank's race, a dozen other findings and names out of an attacker's corpus."""
    sample.fill(real_store, hostile=True)
    return real_store


@pytest.fixture
def queries(filled: Any) -> Queries:
    """The dashboard's questions over the filled store, served to pages."""
    made = Queries(filled)
    serve(made, DashboardSettings(), filled, Parts(made, ()))
    return made


@pytest.fixture
def client(filled: Any) -> TestClient:
    """The API without a token, asked as a browser on this machine would."""
    return TestClient(application(filled, DashboardSettings()), base_url="http://127.0.0.1:8501")


@pytest.fixture
def closed(filled: Any) -> TestClient:
    """The same behind a token."""
    return TestClient(application(filled, DashboardSettings(token=TOKEN)), base_url="http://127.0.0.1:8501")


@pytest.fixture
def away() -> TestClient:
    """The API over a store that does not answer."""
    return TestClient(application(Away(), DashboardSettings()), base_url="http://127.0.0.1:8501")
