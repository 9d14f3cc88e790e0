"""Wherever an amount comes in, the same texts are amounts, and all others get a clear answer."""

from pathlib import Path
from typing import Any

import pytest

from api.llm_models import load_llm_models
from api.plans import SHIPPED, load_plans
from api.toml_file import BadFile
from domain.money import AMOUNT_MAX, format_credits
from tests.api.running import Answer, Person, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_TEXTS: list[Any] = [True, False, 1, 0, -1, 1.5, 10**15, 10**400, None, [], {}, ["1"]]
"""Not even strings: a number of JSON has been through a float in most languages before it is sent."""
NO_AMOUNTS = [
    *("", " ", "-1", "-0", "+1", "1e3", "1E3", "1.", ".5", "1,5", "1_000", "0x10", "NaN", "Infinity", "true"),
    *("0.0000001", "1.0000000", "12.5000000", "1000000000.000001", "1000000001", "99999999999", "9" * 400),
    *("\u0661", "\uff11", "\u00b2", "\u2212" + "1", "1\u00a0", "1\n", "\u200b1", "1\u0000", "1 000", "$1", "1 USD"),
]
AMOUNTS = {
    "0.000001": 1,
    "1": 1_000_000,
    "000000001.5": 1_500_000,
    "1000000000": AMOUNT_MAX,
    "999999999.999999": 10**15 - 1,
}


async def knock(app: Running, admin: Person, door: str, amount: Any, reference: str = "r") -> Answer:
    """Sends the amount where amounts are taken."""
    if door == "credits":
        body = {"account_id": admin.id, "amount": amount, "reference": reference}
        return await app.ask("POST", "/billing/credits/add", body, token=admin.token)
    if door == "low balance":
        return await app.ask("PATCH", "/billing/settings", {"low_balance": amount}, token=admin.token)
    limit = {"amount": amount, "period": "total"}
    return await app.ask("POST", "/api-keys", {"name": "k", "credit_limit": limit}, token=admin.token)


DOORS = ("credits", "low balance", "key limit")


@pytest.mark.parametrize("door", DOORS)
async def test_no_amount_400(app: Running, admin: Person, door: str) -> None:
    """Each is refused as what it is; nothing is ever a 500, and nothing is guessed."""
    for amount in [*NO_AMOUNTS, *NO_TEXTS]:
        if amount is None and door == "low balance":
            continue  # left out
        answer = await knock(app, admin, door, amount)
        assert answer.status == 400, (amount, answer)
        is_text = isinstance(amount, str) and amount != "1\0"
        assert answer.code == ("invalid_amount" if is_text else "invalid_request"), (amount, answer)
        if type(amount) in (int, float) and amount != 10**400:
            assert "write it in quotes" in answer.json["error"]["message"], amount
    shown = await app.ask("GET", "/billing/credits", token=admin.token)
    assert shown.json["balance"] == "0.000000"


async def test_zero(app: Running, admin: Person) -> None:
    """Nothing cannot be granted. A key may spend nothing, and a notice may be wanted at nothing."""
    for amount in ("0", "0.000000"):
        answer = await knock(app, admin, "credits", amount)
        assert (answer.status, answer.code) == (400, "invalid_amount")
        assert (await knock(app, admin, "key limit", amount)).status == 201
        assert (await knock(app, admin, "low balance", amount)).status == 200


async def test_amounts_200(app: Running) -> None:
    """From one micro-credit to 10^15, through the ledger and back, to the last place."""
    admin, total = await app.admin(), 0
    for text, amount in AMOUNTS.items():
        answer = await knock(app, admin, "credits", text, reference=text)
        assert answer.status == 200, answer
        total += amount
        assert (answer.json["transaction"]["amount"], answer.json["balance"]) == (
            format_credits(amount),
            format_credits(total),
        )
        low = await knock(app, admin, "low balance", text)
        assert (low.status, low.json["low_balance"]) == (200, format_credits(amount))
    assert (await knock(app, admin, "low balance", "0")).status == 200
    shown = await app.ask("GET", "/billing/credits", token=admin.token)
    assert shown.json["balance"] == format_credits(total)


MODEL = '[models.m]\nprovider = "openai_compatible"\nbase_url = "http://127.0.0.1:1/v1"\ncontext = 100\n'
PRICES = ("input", "cached_input", "output", "audio_input", "audio_output", "cache_write", "request", "web_search")
BARE = ["1", "0", "-1", "1.5", "1e-3", "true", "[]", "1979-05-27"]


def _models(folder: Path, changed: str, written: str) -> None:
    path = folder / "models.toml"
    lines = [f"{name} = {written if name == changed else quoted('1')}" for name in PRICES]
    path.write_text(MODEL + "\n".join(lines), encoding="utf-8")
    load_llm_models(path, {})


def _plans(folder: Path, changed: str, written: str) -> None:
    path = folder / "plans.toml"
    old = {"price": 'price = "20"', "monthly_credits": 'monthly_credits = "20"'}[changed]
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, f"{changed} = {written}"), encoding="utf-8")
    load_plans(path)


def _top_ups(folder: Path, changed: str, written: str) -> None:
    path = folder / "plans.toml"
    lines = [f"{name} = {written if name == changed else quoted('1')}" for name in ("price", "credits")]
    table = "\n[top_ups.small]\ntitle = 'small'\n" + "\n".join(lines)
    path.write_text(SHIPPED.read_text(encoding="utf-8") + table, encoding="utf-8")
    load_plans(path)


def quoted(text: str) -> str:
    """As a string of TOML."""
    return '"' + "".join(f"\\u{ord(each):04x}" for each in text) + '"'


FILES = [(_models, name) for name in PRICES] + [(_plans, name) for name in ("price", "monthly_credits")]
FILES += [(_top_ups, name) for name in ("price", "credits")]


@pytest.mark.parametrize(("load", "name"), FILES)
async def test_no_amount_in_a_file(tmp_path: Path, load: Any, name: str) -> None:
    """A bare number is refused whatever it is, and so is every text that is no amount; the key is named."""
    for written in [*BARE, *map(quoted, NO_AMOUNTS)]:
        with pytest.raises(BadFile, match=name):
            load(tmp_path, name, written)
    for text in AMOUNTS:
        load(tmp_path, name, quoted(text))
