"""Names out of an attacker's corpus, as resources, agents and strands: shown as they are, and they do nothing.

A page with hostile names must be made of the same kinds of elements as one with plain names: a name that became markup
would add its own.
"""

from collections.abc import Callable

import pytest
from driving import Dashboard, Visit

pytestmark = pytest.mark.browser

PATHS = ("/", "/findings", "/issues", "/latent", "/resources", "/agents", "/stream", "/health", "/settings")
TAGS = """() => {
  const seen = new Set();
  const walk = (root) => { for (const e of root.querySelectorAll('*')) {
    // the charts' own frame comes when they are drawn, on either page
    if (!e.matches('.vega-embed form.vega-bindings, .vega-embed > details')) seen.add(e.localName);
    for (const a of e.attributes) if (/^on/i.test(a.name)) seen.add(`${e.localName}[${a.name}]`);
    for (const name of ['src', 'href', 'action', 'srcdoc', 'background'])
      if (/beacon|script:|data:text/i.test(e.getAttribute(name) || '')) seen.add(`${e.localName} ${name}`);
    if (e.id === 'injected') seen.add('injected');
    if (e.shadowRoot) walk(e.shadowRoot);
  } };
  walk(document);
  return [...seen].sort();
}"""
ACTIVE = {
    "iframe", "object", "embed", "base", "meta", "form", "video", "audio", "math", "marquee", "details", "script",
    "img", "link", "style",
}  # fmt: skip


def tags(tab: Visit) -> set[str]:
    found: list[str] = tab.page.evaluate(TAGS)
    return set(found)


@pytest.fixture(scope="module")
def plain(chromium: object, bank: Dashboard) -> dict[str, set[str]]:
    """The kinds of elements that each page has with plain names."""
    seen = {}
    context = chromium.new_context(viewport={"width": 1280, "height": 800})  # type: ignore[attr-defined]
    tab = Visit(context.new_page(), bank.url)
    tab.open("/")
    for path in PATHS:
        tab.switch(path)
        seen[path] = tags(tab)
    tab.open(f"/finding?id={bank.ids['bank']}", diagram=True)
    seen["/finding"] = tags(tab)
    context.close()
    return seen


@pytest.mark.long
def test_lists_of_hostile_names(visit: Callable[..., Visit], dashboard: Dashboard, plain: dict[str, set[str]]) -> None:
    """On each page: no script, no request, no dialog, no element that the same page with plain names has not."""
    tab = visit(dashboard)
    tab.open("/")
    for path in PATHS:
        quiet(tab, path, plain[path])


@pytest.mark.long
def test_findings_with_hostile_names(
    visit: Callable[..., Visit], dashboard: Dashboard, plain: dict[str, set[str]]
) -> None:
    """A few names of each sort of attack, each on its own finding's page."""
    look_at(visit(dashboard), dashboard.ids["hostile"][::16], plain["/finding"], dashboard.ids["names"][::16])


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(3_000)
def test_every_page_with_all_hostile_names(
    visit: Callable[..., Visit], start: Callable[..., Dashboard], plain: dict[str, set[str]]
) -> None:
    """Fault test 15 on the pages: more than 200 names, each list and each name's own finding, in dark as well."""
    board = start("corpus")
    assert len(board.ids["names"]) >= 200
    for scheme in ("light", "dark"):
        tab = visit(board, scheme=scheme)
        tab.open("/")
        for path in PATHS:
            quiet(tab, path, plain[path])
    look_at(tab, board.ids["hostile"], plain["/finding"], board.ids["names"])


def quiet(tab: Visit, path: str, plain: set[str]) -> None:
    tab.switch(path)
    tab.page.wait_for_timeout(300)  # what a name could start takes a moment: an absence cannot be waited for
    seen = tags(tab)
    assert (seen - plain) & ACTIVE == set(), path
    assert [tag for tag in seen if " " in tag or "[" in tag or tag == "injected"] == [], path
    assert tab.complaints == [], path


LANES = "node => [...node.querySelectorAll('.lane b')].map(each => each.textContent)"


def look_at(tab: Visit, findings: list[str], plain: set[str], names: list[str]) -> None:
    """Each finding is made of the elements that a plain one has, and its agents are named to the letter."""
    for finding, name in zip(findings, names, strict=True):
        tab.open(f"/finding?id={finding}", diagram=True)
        assert tags(tab) - plain <= {"ul", "li"}, finding
        assert len(tab.page.locator(".spacetime .box.race").all()) == 2
        lanes = tab.page.locator(".spacetime").first.evaluate(LANES)
        assert {f"x{name}", name} <= {*lanes, ""}, finding
        assert tab.complaints == [], finding


def test_the_graph_of_a_hostile_name(visit: Callable[..., Visit], dashboard: Dashboard) -> None:
    """Graphviz gets names as quoted strings: no link, no image, no table comes of them."""
    tab = visit(dashboard)
    names = dashboard.ids["names"]
    wanted = [index for index, name in enumerate(names) if "URL=" in name or "<TABLE>" in name or "<img src=x" in name]
    assert len(wanted) == 3
    for index in wanted:
        tab.open(f"/finding?id={dashboard.ids['hostile'][index]}", diagram=True)
        tab.page.get_by_role("tab", name="Witness graph").click()
        tab.page.wait_for_selector(".stGraphVizChart svg text", timeout=20_000)
        inside = tab.page.evaluate(
            "[...new Set([...document.querySelectorAll('.stGraphVizChart svg *')].map(e => e.localName))].sort()"
        )
        assert "image" not in inside
        links = tab.page.evaluate(
            "[...document.querySelectorAll('.stGraphVizChart svg a')].map(e => e.getAttribute('xlink:href') || '')"
        )
        assert [link for link in links if link] == []
        assert tab.complaints == []


def test_a_hostile_name_is_shown_as_it_is(visit: Callable[..., Visit], dashboard: Dashboard) -> None:
    """What is text stays text, to the letter."""
    tab = visit(dashboard)
    index = dashboard.ids["names"].index("<img src=x onerror=alert(1)>")
    tab.open(f"/finding?id={dashboard.ids['hostile'][index]}", diagram=True)
    assert tab.page.locator(".prose h1").first.inner_text() == "Lost update on 0/<img src=x onerror=alert(1)>"


def test_a_search_with_hostile_words(visit: Callable[..., Visit], dashboard: Dashboard) -> None:
    """What stands in an address is as untrusted as a name."""
    tab = visit(dashboard)
    tab.open("/findings?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&kind=%3Csvg%20onload%3Dalert(1)%3E&severity=%22")
    tab.open("/finding?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert tab.page.locator(".prose h1").first.inner_text() == "There is no finding with this id"
    tab.open("/resources?resource_q=![x](http://beacon.invalid/x.png)&shared=%3Cb%3E")
    assert [entry for entry in tab.complaints if not entry.startswith("console: ")] == []


def test_pages_carry_their_policy(visit: Callable[..., Visit], bank: Dashboard) -> None:
    """A picture from elsewhere is refused by the browser itself, should a name ever become one."""
    tab = visit(bank)
    tab.open("/")
    headers = tab.page.request.get(bank.url + "/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    tab.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://beacon.invalid/x.png'}))")
    tab.page.wait_for_timeout(300)
    assert any("Content Security Policy" in entry for entry in tab.complaints)
