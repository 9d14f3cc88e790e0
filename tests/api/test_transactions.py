"""The list of transactions as CSV: the same movements as in JSON, page by page."""

import csv
import io
from collections.abc import Mapping

import pytest

from domain.account.holds import PlaceHold, SettleHold
from domain.account.usage import Price, Usage
from domain.instant import MINUTE
from tests.api.running import Person, Running

PATH = "/billing/credits/transactions"
PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v1")


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def somebody(app: Running) -> Person:
    """Somebody with two grants and a charge."""
    person, admin = await app.register(), await app.admin()
    for number, reason in enumerate(("=SUM(A1:A9)", 'Top-up, "June"')):
        body = {"account_id": person.id, "amount": "2.5", "reference": f"r{number}", "reason": reason}
        assert (await app.ask("POST", "/billing/credits/add", body, token=admin.token)).status == 200
    at = app.services.clock() + MINUTE
    hold = PlaceHold(
        hold_id="h1", model="fs-basic", amount=1_000_000, amount_min=1, price=PRICE, expires_at=at, key_id="key_1"
    )
    await app.command(f"account:{person.id}", hold)
    usage = Usage(source="provider", input=9, output=2)
    await app.command(f"account:{person.id}", SettleHold(hold_id="h1", usage=usage, latency_ms=40))
    return person


async def asked(app: Running, person: Person, path: str, accept: str) -> tuple[Mapping[str, str], str]:
    """The headers and the text of an answer."""
    headers = {"Authorization": f"Bearer {person.token}", "Accept": accept}
    async with app._http.get(f"{app.url}{path}", headers=headers) as got:
        assert got.status == 200
        return got.headers, await got.text()


async def test_csv_200(app: Running) -> None:
    """The CSV has a line for each movement of the JSON, newest first, with the tokens that a charge is for."""
    person = await somebody(app)
    listed = (await app.ask("GET", PATH, token=person.token)).json["data"]
    headers, text = await asked(app, person, PATH, "text/csv")
    assert (headers["Content-Type"], headers["Vary"]) == ("text/csv; charset=utf-8; header=present", "Accept")
    assert "Link" not in headers
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["id"], row["kind"], row["amount"]) for row in rows] == [
        (each["id"], each["kind"], each["amount"]) for each in listed
    ]
    charge, grant, formula = rows
    assert (charge["usage_source"], charge["input_tokens"], charge["output_tokens"]) == ("provider", "9", "2")
    assert (grant["reason"], grant["usage_source"], grant["input_tokens"]) == ('Top-up, "June"', "", "")
    assert formula["reason"] == "'=SUM(A1:A9)"


async def test_csv_pages_200(app: Running) -> None:
    """Each page names the next one in `Link`, until the last: together they are the whole list."""
    person = await somebody(app)
    whole = (await app.ask("GET", PATH, token=person.token)).json["data"]
    path: str | None = f"{PATH}?limit=1"
    found: list[str] = []
    while path is not None and len(found) <= len(whole):
        headers, text = await asked(app, person, path, "text/csv")
        found += [row["id"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        link = headers.get("Link")
        assert link is None or link.endswith('; rel="next"')
        path = None if link is None else link.partition(">")[0].removeprefix("<")
    assert found == [each["id"] for each in whole]


@pytest.mark.parametrize("path", [PATH, "/billing/usage", "/billing/usage/history"])
async def test_json_200(app: Running, path: str) -> None:
    """Whoever does not prefer CSV gets JSON, and caches are told that the answer depends on `Accept`."""
    person = await app.register()
    for accept in ("application/json", "*/*", "image/png", "text/csv;q=0, text/plain", "???"):
        headers, _ = await asked(app, person, path, accept)
        assert (headers["Content-Type"], headers["Vary"]) == ("application/json", "Accept"), accept
