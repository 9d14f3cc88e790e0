"""Usage over HTTP: grouped by everything that requests say about themselves, in the account's days, as JSON and CSV."""

import csv
import io
from typing import Any

import aiohttp
import pytest

from domain.account.usage import Usage
from domain.instant import DAY, HOUR
from tests.api.running import Person, Running
from tests.api.usage_put_down import put_down
from tests.projections.usage_world import SPRING, closed, corrected

USED = Usage(source="provider", input=100, output=50)
PERIOD = "from=2026-03-28&to=2026-03-31&time_zone=Europe/Berlin"


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def asked(app: Running, person: Person, query: str, path: str = "/billing/usage") -> dict[str, Any]:
    """A report."""
    answer = await app.ask("GET", f"{path}?{query}", token=person.token)
    assert answer.status == 200, answer
    report: dict[str, Any] = answer.json
    return report


async def csv_of(app: Running, person: Person, query: str) -> list[dict[str, str]]:
    """The same as CSV."""
    headers = {"Authorization": f"Bearer {person.token}", "Accept": "text/csv"}
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}/billing/usage?{query}", headers=headers) as got:
        assert (got.status, got.content_type, got.headers["Vary"]) == (200, "text/csv", "Accept")
        return list(csv.DictReader(io.StringIO(await got.text(), newline="")))


async def test_groups_200(app: Running) -> None:
    """One word or several; each group names its values, and the groups add up to the totals."""
    person = await app.register()
    ends = [
        closed(
            SPRING + hour * HOUR,
            USED,
            model=f"m{hour % 2}",
            key_id=f"key_{hour % 3}",
            project_id="project_1" if hour % 5 else None,
            agent_id="agent_1" if hour % 7 == 0 else None,
            operation="agent.run" if hour % 7 == 0 else "chat.completions",
        )
        for hour in range(48)
    ]
    put_down(app, person, ends)
    for words in ("model", "api_key", "project", "user", "operation", "agent", "agent,operation", "day,model"):
        report = await asked(app, person, f"{PERIOD}&group_by={words}")
        assert report["group_by"] == words
        assert sum(group["requests"] for group in report["groups"]) == report["totals"]["requests"] == 48
        assert sum(group["total_tokens"] for group in report["groups"]) == report["totals"]["total_tokens"] == 48 * 150
        assert all(list(group["by"]) == words.split(",") for group in report["groups"])
        assert all(group["group"] == group["by"][words.split(",")[0]] for group in report["groups"])
        names = [tuple(group["by"].values()) for group in report["groups"]]
        assert len(set(names)) == len(names)
    assert (await asked(app, person, f"{PERIOD}&group_by=user"))["groups"][0]["group"] == person.id
    agents = await asked(app, person, f"{PERIOD}&group_by=agent,operation")
    assert [tuple(group["by"].values()) for group in agents["groups"]] == [
        (None, "chat.completions"),
        ("agent_1", "agent.run"),
    ]


async def test_days_follow_the_account(app: Running) -> None:
    """Days are those of the account's zone, or of the one that was asked for; a day in spring is an hour short."""
    person = await app.register()
    put_down(app, person, [closed(SPRING + hour * HOUR, USED) for hour in range(-24, 72)])
    in_utc = await asked(app, person, "from=2026-03-28&to=2026-03-31&group_by=day")
    assert [(day["group"], day["requests"]) for day in in_utc["groups"]] == [
        ("2026-03-28", 24),
        ("2026-03-29", 24),
        ("2026-03-30", 24),
    ]
    changed = await app.ask("PATCH", "/billing/settings", {"time_zone": "Europe/Berlin"}, token=person.token)
    assert changed.status == 200
    in_berlin = await asked(app, person, "from=2026-03-28&to=2026-03-31&group_by=day")
    assert (in_berlin["time_zone"], in_berlin["from"]) == ("Europe/Berlin", "2026-03-27T23:00:00Z")
    assert [(day["group"], day["requests"]) for day in in_berlin["groups"]] == [
        ("2026-03-28", 24),
        ("2026-03-29", 23),
        ("2026-03-30", 24),
    ]
    for zone in ("Asia/Kathmandu", "Asia/Kolkata", "Pacific/Chatham"):
        there = await asked(app, person, f"from=2026-03-28&to=2026-03-31&group_by=day&time_zone={zone}")
        assert [day["requests"] for day in there["groups"]] == [24, 24, 24]
    hours = await asked(app, person, f"{PERIOD}&group_by=hour")
    assert (len(hours["groups"]), hours["groups"][0]["group"]) == (71, "2026-03-28T00:00:00+01:00")


async def test_late_usage_lands_in_its_day(app: Running) -> None:
    """What is told two days later belongs to the day on which it happened."""
    person = await app.register()
    ended = closed(SPRING + HOUR)
    put_down(app, person, [ended, corrected(ended, USED, latency_ms=400)])
    report = await asked(app, person, "from=2026-03-28&to=2026-03-31&group_by=day")
    [day] = report["groups"]
    assert (day["group"], day["requests"], day["failed"], day["latency_ms_mean"]) == ("2026-03-28", 1, 0, 400)


@pytest.mark.parametrize(
    ("day", "begins", "length", "odd", "labels"),
    [
        ("2026-03-29", 23 * HOUR, 23, 1, ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]),
        ("2026-10-25", 210 * DAY + 22 * HOUR, 25, 2, ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]),
    ],
)
async def test_a_day_of_another_length(
    app: Running, day: str, begins: int, length: int, odd: int, labels: list[str]
) -> None:
    """Each hour has its own group, as JSON and CSV, what was told late included; together they are the day."""
    person = await app.register()
    ends = [closed(SPRING + begins + hour * HOUR, USED) for hour in range(-1, length + 1)]
    late = [closed(SPRING + begins + hour * HOUR + HOUR // 2) for hour in (odd, odd + 1)]
    put_down(app, person, [*ends, *late, *(corrected(each, USED, latency_ms=400) for each in late)])
    period = f"from={day}&to={day[:-2]}{int(day[-2:]) + 1}&time_zone=Europe/Berlin"
    [whole] = (await asked(app, person, f"{period}&group_by=day"))["groups"]
    hours = await asked(app, person, f"{period}&group_by=hour")
    groups = hours["groups"]
    assert (whole["group"], whole["requests"], whole["failed"], len(groups)) == (day, length + 2, 0, length)
    assert [group["group"] for group in groups[odd : odd + 2]] == labels
    assert [group["requests"] for group in groups] == [1] * odd + [2, 2] + [1] * (length - odd - 2)
    for name in ("requests", "total_tokens"):
        assert sum(group[name] for group in groups) == whole[name] == hours["totals"][name]
    for word, groups_of in (("hour", groups), ("day", [whole])):
        rows = await csv_of(app, person, f"{period}&group_by={word}")
        shown = [(row[word], int(row["requests"]), row["cost"]) for row in rows]
        assert shown == [(group["group"], group["requests"], group["cost"]) for group in groups_of]


async def test_csv_200(app: Running) -> None:
    """The same groups and figures, a line each."""
    person = await app.register()
    put_down(app, person, [closed(SPRING + hour * HOUR, USED, model=f"m{hour % 2}") for hour in range(24)])
    query = f"{PERIOD}&group_by=model,day"
    rows = await csv_of(app, person, query)
    report = await asked(app, person, query)
    assert [{"model": row["model"], "day": row["day"]} for row in rows] == [group["by"] for group in report["groups"]]
    assert [row["cost"] for row in rows] == [group["cost"] for group in report["groups"]]
    assert [int(row["total_tokens"]) for row in rows] == [group["total_tokens"] for group in report["groups"]]


async def test_a_formula_is_a_text(app: Running) -> None:
    """A name that a spreadsheet would compute cannot be one in the file."""
    person = await app.register()
    put_down(app, person, [closed(SPRING, USED, model="=HYPERLINK(1)", operation='a,"b"')])
    [row] = await csv_of(app, person, f"{PERIOD}&group_by=model,operation")
    assert (row["model"], row["operation"]) == ("'=HYPERLINK(1)", 'a,"b"')


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("group_by=model,model", "invalid_parameter"),
        ("group_by=day,hour", "invalid_parameter"),
        ("group_by=", "invalid_parameter"),
        ("group_by=model,", "invalid_parameter"),
        ("group_by=model%0A", "invalid_parameter"),
        ("time_zone=Mars/Olympus", "invalid_time_zone"),
        ("time_zone=", "invalid_time_zone"),
        ("from=2026-01-01&to=2026-06-01&group_by=hour", "invalid_period"),
        ("from=2026-01-01&to=2026-03-01&group_by=quarter", "invalid_period"),
        ("from=2026-03-29&to=2026-03-29", "invalid_period"),
    ],
)
async def test_usage_400(app: Running, query: str, code: str) -> None:
    """What cannot be answered is refused by what is wrong with it."""
    person = await app.register()
    answer = await app.ask("GET", f"/billing/usage?{query}", token=person.token)
    assert (answer.status, answer.code) == (400, code)


async def test_too_much_400(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than answer for minutes it says what to ask for instead."""
    person = await app.register()
    put_down(app, person, [closed(SPRING + day * DAY, USED, key_id=f"key_{day}") for day in range(3)])
    monkeypatch.setattr("projections.usage_sums.GROUPS_MAX", 2)
    answer = await app.ask("GET", f"/billing/usage?{PERIOD}&group_by=api_key", token=person.token)
    assert (answer.status, answer.code) == (400, "usage_too_large")


async def test_failures_are_counted(app: Running) -> None:
    """A request that ended with nothing delivered is no request that was served, and costs nothing."""
    person = await app.register()
    put_down(app, person, [closed(SPRING), closed(SPRING + 1, USED), closed(SPRING + 2)])
    totals = (await asked(app, person, PERIOD))["totals"]
    assert (totals["requests"], totals["failed"], totals["total_tokens"]) == (1, 2, 150)
