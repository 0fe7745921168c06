"""Who asks, what they may do, and what of it stands in the audit log: tokens, proxies, roles, over the real store."""

import time
from typing import Any

import pytest
from assembled import TOKEN, application
from starlette.testclient import TestClient

from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.routes import route_from
from noclobber_analyzer.alerts.silences import SILENCE_ADDED
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.tables import append_transitions, read_transitions_of
from noclobber_dashboard.identity import HEADER, OPERATOR, READER, Identity, Scope, scopes_from
from noclobber_dashboard.journal import KEPT_MAX, REFUSED, Journal
from noclobber_dashboard.login import LoginError, login_from
from noclobber_dashboard.settings import DashboardSettings
from noclobber_dashboard.tokens import Tokens, make_token, read_tokens, revoke_row

BASE = "http://127.0.0.1:8501"
PROXY = {"operators": ["ann@*"], "readers": ["*@example.com"],
         "proxy": {"header": "X-Forwarded-User", "trusted": ["10.0.0.0/24"]}}  # fmt: skip
SILENCE = {"matchers": ["kind=lost_update"], "seconds": 3_600, "comment": "load test"}


def client(store: Any, peer: str = "127.0.0.1", *, journal: bool = False, **settings: Any) -> TestClient:
    app = application(store, DashboardSettings(**settings), journal=journal)
    return TestClient(app, base_url=BASE, client=(peer, 5_000))


def a_token(store: Any, *scopes: str, until_ns: int = 0) -> tuple[str, dict[str, str]]:
    """A new token's id, and the header that shows it."""
    text, row = make_token("grafana", scopes_from(scopes), actor="ann", now_ns=time.time_ns(), until_ns=until_ns)
    append_transitions(store, [row])
    return row.issue, {"authorization": f"Bearer {text}"}


def an_issue(api: TestClient, **headers: str) -> str:
    """An issue that its log has opened."""
    rows = api.get("/api/v1/transitions?limit=500", headers=headers).json()["transitions"]
    return str(next(row["issue"] for row in rows if row["kind"] == "issue.opened"))


@pytest.mark.parametrize(
    ("scopes", "reads", "operates", "stores"),
    [(("read",), 200, 403, 403), (("operate",), 200, 200, 403), (("store",), 200, 403, 404),
     (("read,operate", "store"), 200, 200, 404)],
)  # fmt: skip
def test_a_token_may_do_what_its_scopes_say(
    filled: Any, scopes: tuple[str, ...], reads: int, operates: int, stores: int
) -> None:
    """Reading needs `read`, acting `operate`, the raw store `store` (404: it passed, and is not mounted here)."""
    api, (_, shown) = client(filled, token=TOKEN), a_token(filled, *scopes)
    assert api.get("/api/v1/findings", headers=shown).status_code == reads
    assert api.get("/", headers=shown).status_code == reads
    assert api.post("/api/v1/silences", json=SILENCE, headers=shown).status_code == operates
    assert api.get("/api/v1/store/ping", headers=shown).status_code == stores


def test_a_token_is_stored_hashed_and_ends_when_it_is_revoked(filled: Any) -> None:
    """Nothing of it stands in the store; revoked, over, or with one letter changed it is none."""
    token_id, shown = a_token(filled, "read")
    secret = shown["authorization"].partition(f"_{token_id}_")[2]
    assert len(secret) > 40
    assert secret not in str(filled.rows("SELECT * FROM transitions"))
    opened = client(filled, token=TOKEN).get("/api/v1/findings", headers=shown)
    changed = {"authorization": shown["authorization"][:-1] + ("A" if shown["authorization"][-1] != "A" else "B")}
    assert opened.status_code == 200
    assert client(filled, token=TOKEN).get("/api/v1/findings", headers=changed).status_code == 401
    made = next(each for each in read_tokens(filled) if each.id == token_id)
    assert (made.name, made.author, made.scopes, len(made.digest)) == ("grafana", "ann", READER, 64)
    append_transitions(filled, [revoke_row(made, actor="bob", now_ns=time.time_ns())])
    assert client(filled, token=TOKEN).get("/api/v1/findings", headers=shown).status_code == 401
    _, over = a_token(filled, "read", until_ns=time.time_ns() - 1)
    assert client(filled, token=TOKEN).get("/api/v1/findings", headers=over).status_code == 401


def test_signing_in_with_a_token_ends_with_the_token(filled: Any) -> None:
    """The session's cookie holds nothing of the token, and is worth nothing once it is revoked."""
    token_id, shown = a_token(filled, "read")
    text = shown["authorization"].removeprefix("Bearer ")
    api = client(filled, token=TOKEN)
    answer = api.post("/sign-in", data={"token": text}, follow_redirects=False)
    assert answer.status_code == 303
    secret = text.partition(f"_{token_id}_")[2]
    assert len(secret) > 40
    assert secret not in answer.headers["set-cookie"]
    cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert client(filled, token=TOKEN).get("/findings", headers=cookie).status_code == 200
    assert client(filled, token=TOKEN).post("/api/v1/silences", json=SILENCE, headers=cookie).status_code == 403
    made = next(each for each in read_tokens(filled) if each.id == token_id)
    append_transitions(filled, [revoke_row(made, actor="bob", now_ns=time.time_ns())])
    assert client(filled, token=TOKEN).get("/findings", headers=cookie).status_code == 401


def test_tokens_are_read_at_most_every_two_seconds_and_kept_while_the_store_is_away(filled: Any) -> None:
    """The gate does not ask the store for every request; an outage locks nobody out who was in."""

    class Counting:
        asked, is_away = 0, False

        def rows(self, *words: object) -> Any:
            self.asked += 1
            if self.is_away:
                raise OSError("away")
            return filled.rows(*words)

    store = Counting()
    tokens, (_, shown) = Tokens(store), a_token(filled, "read")  # type: ignore[arg-type]  # all that is asked of it
    text = shown["authorization"].removeprefix("Bearer ")
    assert all(tokens.shown(text) for _ in range(50))
    assert store.asked == 1
    store.is_away, tokens._read_at_s = True, float("-inf")
    assert tokens.shown(text)
    assert store.asked == 2


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.0.0.7", {"x-forwarded-user": "ann@ops"}, 200),
        ("10.0.0.7", {"x-forwarded-user": "Bob@Example.com"}, 200),
        ("10.0.0.7", {"x-forwarded-user": "eve@evil.example"}, 401),
        ("10.0.0.7", {}, 401),
        ("10.0.0.7", {"x-forwarded-user": "ann@ops\x00"}, 401),
        ("10.0.1.7", {"x-forwarded-user": "ann@ops"}, 401),
        ("127.0.0.1", {"x-forwarded-user": "ann@ops"}, 401),
        ("127.0.0.1", {"x-forwarded-user": "ann@ops", "x-forwarded-for": "10.0.0.7"}, 401),
        ("127.0.0.1", {HEADER: Identity("eve", OPERATOR, "proxy").to_header()}, 401),
    ],
)
def test_a_proxys_word_counts_from_its_own_addresses_only(
    filled: Any, peer: str, headers: dict[str, str], status: int
) -> None:
    """Whoever is not named by a pattern is refused; a header from elsewhere, or one of ours, is nobody's word."""
    login = login_from(PROXY, {})
    assert client(filled, peer, login=login).get("/api/v1/findings?limit=1", headers=headers).status_code == status


def test_two_names_are_none(filled: Any) -> None:
    """A header that came twice (the proxy added its own to the caller's) is not believed."""
    api = client(filled, "10.0.0.7", login=login_from(PROXY, {}))
    twice = [("x-forwarded-user", "ann@ops"), ("x-forwarded-user", "eve@evil.example")]
    assert api.get("/api/v1/findings", headers=twice).status_code == 401  # type: ignore[arg-type]  # pairs are taken


def test_a_reader_reads_and_an_operator_acts_in_their_own_name(filled: Any) -> None:
    """The log has the name that the proxy gave, not one from the body, and the address behind the proxy."""
    api = client(filled, "10.0.0.7", login=login_from(PROXY, {}))
    reader = {"x-forwarded-user": "bob@example.com"}
    ann = {"x-forwarded-user": "ann@ops", "x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.3"}
    issue = an_issue(api, **reader)
    refused = api.post(f"/api/v1/issues/{issue}/acknowledge", json={}, headers=reader)
    assert (refused.status_code, "operate" in refused.json()["error"]) == (403, True)
    done = api.post(f"/api/v1/issues/{issue}/acknowledge", json={"actor": "eve", "reason": "mine"}, headers=ann)
    assert (done.status_code, done.json()["actor"]) == (200, "ann@ops")
    act = api.get("/api/v1/audit?limit=1", headers=reader).json()["audit"][0]
    assert {name: act[name] for name in ("who", "what", "about", "origin", "why")} == {
        "who": "ann@ops", "what": "state.acknowledged", "about": issue, "origin": "203.0.113.9", "why": "mine",
    }  # fmt: skip
    assert api.post(f"/api/v1/issues/{issue}/accept", json={}, headers=ann).status_code == 400  # without a reason
    assert api.post(f"/api/v1/issues/{issue}/reopen", json={}, headers=ann).status_code == 200


@pytest.mark.parametrize("name", ["analyzer", "sender"])
def test_nobody_acts_as_a_part_of_ours(filled: Any, name: str) -> None:
    """Rows of analyzer and sender are no acts: whoever takes their name stands in the log all the same."""
    text, row = make_token(name, scopes_from(["operate"]), actor="ann", now_ns=time.time_ns())
    append_transitions(filled, [row])
    api, shown = client(filled, token=TOKEN), {"authorization": f"Bearer {text}"}
    assert api.post("/api/v1/silences", json=SILENCE, headers=shown).status_code == 200
    issue = an_issue(api, **shown)
    for change in ("acknowledge", "reopen"):
        assert api.post(f"/api/v1/issues/{issue}/{change}", json={}, headers=shown).status_code == 200
    log = api.get("/api/v1/audit?limit=3", headers=shown).json()["audit"]
    assert [act["who"] for act in log] == [f"{name} (not a part of noclobber)"] * 3


@pytest.mark.parametrize(
    ("claim", "user", "name"),
    [
        ("", {"email": "ann@ops", "email_verified": True, "sub": "7"}, "ann@ops"),
        ("", {"email": "ann@ops", "email_verified": False, "sub": "7"}, "7"),
        ("", {"email": "ann@ops", "email_verified": "true", "sub": "7"}, "7"),
        ("", {"email": "ann@ops", "preferred_username": "ann@ops", "sub": "7"}, "7"),
        ("", {"preferred_username": "ann@ops"}, ""),
        ("email", {"email": "ann@ops", "sub": "7"}, "ann@ops"),
        ("email", {"email": "ann@ops", "email_verified": False, "sub": "7"}, ""),
        ("preferred_username", {"preferred_username": "ann", "email": "bob@ops", "email_verified": True}, "ann"),
    ],
)
def test_a_claim_that_people_choose_names_nobody(claim: str, user: dict[str, object], name: str) -> None:
    """Only what the provider has verified, or what is fixed, unless the owner trusts a claim by name."""
    login = login_from({"oidc": {**OIDC, "claim": claim}, "readers": ["*"]}, {})
    assert login is not None
    assert login.oidc is not None
    assert login.oidc.name_of(user) == name


def test_silences_and_routes_through_the_api(filled: Any) -> None:
    """Made, listed, ended; a sample is asked for; what is not there is 404, nonsense 400, a foreign page 403."""
    Outbox(filled, [route_from({"name": "ops", "format": "slack", "url": "https://hooks.example/x"})], SYSTEM).open()
    api = client(filled)
    made = api.post("/api/v1/silences", json=SILENCE)
    assert made.status_code == 200
    name = made.json()["issue"]
    (listed,) = [each for each in api.get("/api/v1/silences").json()["silences"] if each["id"] == name]
    assert (listed["matchers"], listed["comment"], listed["author"]) == (["kind=lost_update"], "load test", "api")
    assert listed["end_ns"] - listed["start_ns"] == 3_600 * 10**9
    assert api.delete(f"/api/v1/silences/{name}").status_code == 200
    assert api.delete(f"/api/v1/silences/{name}").status_code == 400
    assert api.delete("/api/v1/silences/none").status_code == 404
    assert api.post("/api/v1/routes/ops/test", json={"actor": "ann"}).json()["actor"] == "ann"
    assert api.post("/api/v1/routes/none/test").status_code == 404
    assert api.post("/api/v1/deliveries/none/resend").status_code == 404
    for body in (b"[]", b"{", b"[" * 60_000, b"x" * 70_000, b'{"matchers": "kind=fork"}', b'{"matchers": ["size=1"]}'):
        assert api.post("/api/v1/silences", content=body).status_code == 400
    foreign = {"origin": "https://evil.example"}
    assert api.post("/api/v1/silences", json=SILENCE, headers=foreign).status_code == 403
    assert read_transitions_of(filled, [SILENCE_ADDED])


def test_who_comes_in_and_who_is_refused_stands_in_the_log_once(filled: Any) -> None:
    """A hundred requests are one entry; a wrong token is one entry a minute, without the token."""
    _, shown = a_token(filled, "read")
    api = client(filled, "198.51.100.4", journal=True, token=TOKEN)
    for _ in range(3):
        assert api.get("/api/v1/health", headers=shown).status_code == 200
        assert api.get("/api/v1/health", headers={"authorization": "Bearer hunter2"}).status_code == 401
        assert api.get("/api/v1/health").status_code == 401
    log = api.get("/api/v1/audit?limit=50", headers=shown).json()["audit"]
    mine = [(act["what"], act["who"], act["why"]) for act in log if act["origin"] == "198.51.100.4"]
    assert sorted(mine) == [
        ("access.refused", "unknown", "/api/v1/health, 1 since the last entry"),
        ("access.signed_in", "grafana", "by api token: read"),
    ]
    assert "hunter2" not in str(filled.rows("SELECT * FROM transitions"))


def test_nobody_fills_the_journal() -> None:
    """Its memory has an end, and a refusal says how often it happened since the last one."""
    now_s = 0.0
    journal = Journal(None, lambda: now_s)  # type: ignore[arg-type]  # nothing is written here
    assert [journal.is_new(REFUSED, "a") for _ in range(3)] == [1, 0, 0]
    now_s = 61.0
    assert journal.is_new(REFUSED, "a") == 3
    for number in range(KEPT_MAX + 5):
        journal.is_new(REFUSED, str(number))
    assert len(journal._noted) == KEPT_MAX


OIDC = {"client_id": "c", "client_secret": "s", "server_metadata_url": "https://id.example/x",
        "redirect_uri": "https://board.example/oauth2callback"}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "needs"),
        ({"oidc": OIDC}, "operators"),
        ({"proxy": {"header": "X-User", "trusted": []}, "readers": ["*"]}, "trusted"),
        ({"proxy": {"header": "X User", "trusted": ["::1"]}, "readers": ["*"]}, "header"),
        ({"proxy": {"header": "X-User", "trusted": ["10.0.0.1/8"]}, "readers": ["*"]}, "host bits"),
        ({"oidc": {**OIDC, "client_secret": ""}, "readers": ["*"]}, "client_secret"),
        ({"oidc": {**OIDC, "redirect_uri": "https://board.example/"}, "readers": ["*"]}, "oauth2callback"),
        ({"oidc": OIDC, "readers": "*"}, "lists of patterns"),
        ({"oidc": OIDC, "reader": ["*"]}, "unknown setting 'reader'"),
    ],
)
def test_a_login_that_cannot_be_used_says_why(table: dict[str, Any], why: str) -> None:
    """One sentence, before anything starts."""
    with pytest.raises(LoginError, match=why):
        login_from(table, {})


def test_secrets_of_a_login_come_from_the_environment_and_are_not_shown() -> None:
    """Neither stands in the representation; without a cookie secret one is made for this run."""
    table = {"oidc": {**OIDC, "client_secret": ""}, "readers": ["*"]}
    login = login_from(table, {"NOCLOBBER_OIDC_CLIENT_SECRET": "hunter2"})
    assert login is not None
    assert login.oidc is not None
    assert (login.oidc.client_secret, len(login.oidc.cookie_secret) > 20) == ("hunter2", True)
    assert "hunter2" not in repr(login)
    assert login.oidc.cookie_secret not in repr(login)


def test_scopes_are_read_strictly() -> None:
    """Whoever may do anything may read; nonsense and nothing are refused."""
    assert scopes_from(["operate"]) == OPERATOR
    assert scopes_from(["store"]) == {Scope.READ, Scope.STORE}
    for words in ([], [""], ["all"]):
        with pytest.raises(ValueError, match="scope"):
            scopes_from(words)
