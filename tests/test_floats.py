"""Money never passes through a float: no rule of the domain, no read model and no module that handles money has one."""

import re
from pathlib import Path

import pytest

from tests.floats import floats_in
from tests.test_size_limits import ROOT, sources

WITHOUT_EXCEPTION = ("domain/", "projections/", "api/billing/", "api/quotas/")
"""Where money is decided, counted, taken in and asked for."""
HANDLES_MONEY = re.compile(
    r"^(from|import) (domain\.money|domain\.account|projections\.(credits|holds|transactions|past_credits|usage))"
    r"|\bMicroCredits\b|\bformat_credits\b|\bparse_credits\b",
    re.MULTILINE,
)
EXCEPTIONS = {
    ("api/gateway/usage.py", "Count: TypeAlias = int | float"): "some providers write 3.0 tokens",
    ("api/gateway/usage.py", "if isinstance(count, float) and not count.is_integer():"): "and none write half a token",
    ("api/gateway/metering.py", "self._views: dict[str, tuple[MicroCredits, float]] = {}"): "until when it is good",
    ("api/gateway/metering.py", "self._messages: dict[str, tuple[int | None, float]] = {}"): "the same",
    ("api/identity/identities.py", "self._unknown: OrderedDict[str, float] = OrderedDict()"): "when it was looked up",
}
"""(path, line) to the reason why it is no money."""


def money_paths() -> list[str]:
    """What must be free of floats, by what it is and by what it imports: a new module is in without being named."""
    found = []
    for path in map(str, sources(".py")):
        top = path.partition("/")[0]
        if path.startswith(WITHOUT_EXCEPTION) or (
            top in ("api", "worker", "eventstore") and HANDLES_MONEY.search((ROOT / path).read_text())
        ):
            found.append(path)
    return found


def test_no_float_touches_money() -> None:
    """Each that is found is named with its line; an exception needs a reason, and goes when its line has gone."""
    found: list[str] = []
    excused: set[tuple[str, str]] = set()
    for path in money_paths():
        text = (ROOT / path).read_text()
        lines = text.splitlines()
        for number, what in floats_in(text):
            place = (path, lines[number - 1].strip())
            if place in EXCEPTIONS:
                excused.add(place)
            else:
                found.append(f"{path}:{number}: {what}: {place[1]}")
    assert found == []
    assert excused == set(EXCEPTIONS)


def test_money_paths_are_all_there() -> None:
    """The ledger, its read models, what prices and shows money, and what proves it."""
    paths = set(money_paths())
    assert {
        *("domain/money.py", "domain/account/ledger.py", "domain/account/usage.py", "projections/transactions.py"),
        *("api/plans.py", "api/llm_models.py", "api/credits_shown.py", "api/routes/credits.py", "api/gateway/usage.py"),
        *("api/gateway/estimate.py", "api/transaction_explained.py", "worker/verify_money.py", "worker/show.py"),
    } <= paths


@pytest.mark.parametrize(
    "planted",
    [
        "half = 0.5",
        "rate = 1e6",
        "share = amount / 2",
        "amount /= 3",
        "small = 10 ** -6",
        "amount = float(text)",
        "amount = round(text)",
        "def add(amount: float) -> None: ...",
        "import math",
        "from math import floor",
        "from decimal import Decimal",
        "import statistics",
        "x = 1j",
    ],
)
def test_a_planted_float_is_found(planted: str) -> None:
    """Wherever it stands in a file of the domain."""
    source = Path(ROOT / "domain/money.py").read_text()
    assert list(floats_in(source)) == []
    assert len(list(floats_in(f"{source}\n{planted}\n"))) == 1


@pytest.mark.parametrize("whole", ["half = amount // 2", "timeout_s = 0.5", "from math import isqrt", "x = -(-a // b)"])
def test_what_is_none_is_not_found(whole: str) -> None:
    """Whole numbers, and seconds by their name."""
    assert list(floats_in(whole)) == []
