"""The site's pages of kinds: each kind is shown by a finding of that kind, and drawn."""

import json
import re
from typing import Final

import kind_pages
import pytest

from noclobber.contract import PRECEDENCE, Kind
from noclobber_analyzer.kinds import KINDS

RECORDED_MIN: Final = 23


@pytest.mark.parametrize("kind", list(PRECEDENCE), ids=str)
def test_each_kind_has_a_page_with_a_picture(kind: Kind) -> None:
    """Its definition, a diagram with accesses of the finding, and a way out."""
    page = kind_pages.page(kind)
    assert KINDS[kind].definition in page
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    drawn = json.loads(data)
    assert drawn["diagram"]["events"]
    assert drawn["diagram"]["lanes"]
    assert "## What to change" in page


def test_what_was_recorded_is_of_a_store_and_of_no_machine() -> None:
    """Pictures of real runs, for each kind that a store of these tests shows; no path of whoever recorded them."""
    files = sorted(kind_pages.RECORDED.glob("*.jsonl"))
    assert len(files) >= RECORDED_MIN
    for file in files:
        assert KINDS[Kind(file.stem)].shown_from_store
        assert not re.search(r"/(home|root|tmp|work|Users)/|%2F", file.read_text()), file.name
