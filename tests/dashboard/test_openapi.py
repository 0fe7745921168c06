"""The API's own description: valid, complete, and true of what is answered; and rows as files."""

import csv
import io
from typing import Any

import pyarrow.parquet as pq
import pytest
from hostile import HOSTILE
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.testclient import TestClient

BANK = "5f2c9a41d07be836c1a4f0925d7e3b68"
LISTS = ("findings", "issues", "transitions", "resources", "accesses", "deliveries")


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    return answer


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """By the specification's own validator."""
    validate(document)


def test_every_answer_fits_its_schema(client: TestClient, document: dict[str, Any]) -> None:
    """Every path, asked for what is in the store, answers what the document says."""
    for path, item in document["paths"].items():
        schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        asked = path.replace("{id}", BANK if "findings" in path else _an_issue(client))
        answer = client.get(f"/api/v1{asked}", params={"form": "json"} if path.endswith("/export") else {})
        assert answer.status_code == 200, asked
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())


def test_every_parameter_is_taken(client: TestClient, document: dict[str, Any]) -> None:
    """What the document offers is no unknown parameter, with the first value that its schema allows."""
    for path, item in document["paths"].items():
        for parameter in item["get"]["parameters"]:
            if parameter["in"] == "query" and parameter["name"] not in ("cursor", "trace_id"):
                value = _first(parameter["schema"])
                asked = path.replace("{id}", BANK if "findings" in path else _an_issue(client))
                answer = client.get(f"/api/v1{asked}", params={parameter["name"]: value})
                assert answer.status_code == 200, (path, parameter["name"], answer.text)


@pytest.mark.parametrize("name", LISTS)
def test_a_file_holds_what_all_pages_hold(client: TestClient, name: str) -> None:
    """CSV and Parquet have a row for each row of the list, whatever the page's limit."""
    rows: list[dict[str, Any]] = []
    path = f"/api/v1/{name}?limit=500"
    while path:
        page = client.get(path).json()
        rows += page[name]
        path = f"/api/v1/{name}?limit=500&cursor={page['next']}" if page["next"] else ""
    assert rows
    made = client.get(f"/api/v1/{name}?format=csv&limit=3")
    assert made.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    read = list(csv.DictReader(io.StringIO(made.content.decode("utf-8-sig"))))
    table = pq.read_table(io.BytesIO(client.get(f"/api/v1/{name}?format=parquet").content))
    assert len(read) == table.num_rows == len(rows)
    assert set(table.column_names) == {key for row in rows for key in row}


def test_no_cell_is_a_formula(client: TestClient) -> None:
    """Names that a spreadsheet would calculate stand behind an apostrophe; Parquet has them as they are."""
    made = client.get("/api/v1/findings?format=csv").content.decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(made)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    table = pq.read_table(io.BytesIO(client.get("/api/v1/accesses?format=parquet").content))
    assert {name for name in HOSTILE if name} <= set(table.column("agent").to_pylist())


def _first(schema: dict[str, Any]) -> Any:
    schema = schema.get("items", schema)
    return next(iter(schema.get("enum", ())), 1 if schema.get("type") == "integer" else "x")


def _an_issue(client: TestClient) -> str:
    return str(client.get("/api/v1/issues?limit=1").json()["issues"][0]["issue"])
