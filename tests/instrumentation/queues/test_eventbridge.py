"""EventBridge through boto3 against a real server: events by their ids, refused ones, buses by name and by ARN."""

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from driver_stage import TIMEOUT_S, findings, together
from moto_stage import KEY_ID, SECRET, aws, client

from noclobber import step
from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

EVENT = {"Source": "planted-source", "DetailType": "planted-type", "Detail": '{"what": "planted-detail"}'}
BUS = "eventbridge://eu-west-1/orders"


@pytest.fixture(scope="module")
def events() -> Iterator[Any]:
    """A client of a server of its own, which has a bus beside the default one."""
    with aws() as url:
        made = client("events", url)
        made.create_event_bus(Name="orders")
        yield made
        made.close()


def told(captured: Captured) -> list[tuple[Any, ...]]:
    names = ("op", "resource", "outcome", "message.id", "partial")
    return [tuple(each.get(f"noclobber.{name}") for name in names) for each in captured.accesses]


def test_events_are_sent(events: Any) -> None:
    """One message an event, by the id in the reply; a bus has one name, however it is called."""
    arn = events.describe_event_bus(Name="orders")["Arn"]
    entries = [EVENT, {**EVENT, "EventBusName": "orders"}, {**EVENT, "EventBusName": arn}]
    with capture() as captured:
        ids = [each["EventId"] for each in events.put_events(Entries=entries)["Entries"]]
        assert told(captured) == [
            ("send", bus, "ok", each, None)
            for bus, each in zip(("eventbridge://eu-west-1/default", BUS, BUS), ids, strict=True)
        ]
        span, *_ = captured.spans
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert (span.name, span.library) == ("send aws.eventbridge", "botocore")
    assert [each["noclobber.seq"] for each in captured.accesses] == [1, 2, 3]
    for secret in ("planted", KEY_ID, SECRET):
        assert secret not in sent


def test_what_was_not_taken(events: Any) -> None:
    """An event that the reply refuses was not sent, beside one that was; a call that is refused sent nothing."""

    def some(**_: Any) -> Any:
        entries = [{"EventId": "an-id"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}]
        return SimpleNamespace(status_code=200), {"Entries": entries, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def none(**_: Any) -> Any:
        about = {"HTTPStatusCode": 400}
        return SimpleNamespace(status_code=400), {"Error": {"Code": "Refused"}, "ResponseMetadata": about}

    outcomes = []
    for answer in (some, none):
        events.meta.events.register_first("before-call.events.PutEvents", answer)
        with capture() as captured:
            if answer is none:
                with pytest.raises(ClientError):
                    events.put_events(Entries=[EVENT, EVENT])
            else:
                events.put_events(Entries=[EVENT, EVENT])
            outcomes.append([(each[2], each[3], each[4]) for each in told(captured)])
        events.meta.events.unregister("before-call.events.PutEvents", answer)
    assert outcomes == [[("ok", "an-id", None), ("error", None, True)], [("error", None, True)] * 2]


def test_other_calls_and_mistakes_are_no_messages(events: Any) -> None:
    """What puts no event is no access."""
    with capture() as captured:
        events.list_event_buses()
        for entries in ([7], 7):
            with pytest.raises(ParamValidationError):
                events.put_events(Entries=entries)
        assert captured.accesses == []


def announce(events: Any, stored: Any, seen: threading.Event, changed: threading.Event, how: str) -> None:
    """Announce what the state is, or was."""
    with step("announce"):
        if how == "looks late":
            seen.set()
            assert changed.wait(TIMEOUT_S)
        stored.get_object(Bucket="state", Key="order")
        seen.set()
        assert changed.wait(TIMEOUT_S)
        events.put_events(Entries=[EVENT])


def change(stored: Any, seen: threading.Event, changed: threading.Event) -> None:
    """Change the state meanwhile."""
    assert seen.wait(TIMEOUT_S)
    with step("change"):
        stored.put_object(Bucket="state", Key="order", Body=b"the order was cancelled meanwhile")
    changed.set()


@pytest.mark.parametrize(("how", "found"), [("plain", [("check_then_act", "likely")]), ("looks late", [])])
def test_an_event_that_rests_on_what_was_overtaken(events: Any, how: str, found: Any, tmp_path: Path) -> None:
    """An event tells what is no longer so; one that was decided from what is there does not."""
    stored = client("s3", events.meta.endpoint_url)
    stored.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    stored.put_object(Bucket="state", Key="order", Body=b"the order is open, and nobody touches it")
    seen, changed = threading.Event(), threading.Event()
    with capture(fixed=False) as captured:
        together(
            functools.partial(announce, events, stored, seen, changed, how),
            functools.partial(change, stored, seen, changed),
        )
    stored.delete_object(Bucket="state", Key="order")
    stored.delete_bucket(Bucket="state")
    stored.close()
    assert [each for each in findings(captured, tmp_path) if each[0] != "blind_overwrite"] == found
