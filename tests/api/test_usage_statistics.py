"""Statistics over HTTP: held against the requests themselves."""

import csv
import io
from math import ceil
from random import Random

import aiohttp
import pytest

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage
from domain.instant import DAY, HOUR, MINUTE
from projections.usage_histogram import ERROR_PERCENT
from tests.api.running import Running
from tests.api.usage_put_down import put_down
from tests.projections.usage_world import SPRING, closed, corrected

PATH = "/billing/usage/statistics"


pytestmark = pytest.mark.asyncio(loop_scope="module")


def near(found: int, values: list[int], percent: int) -> bool:
    """Whether this is the values' percentile, as exactly as the answer promises."""
    true = sorted(values)[ceil(len(values) * percent / 100) - 1]
    return abs(found - true) * 100 <= ERROR_PERCENT * true


async def test_statistics_200(app: Running) -> None:
    """Totals, means, the error rate and percentiles, in all and by model."""
    person, dice = await app.register(), Random(7)
    ends: list[HoldClosed | HoldCorrected] = []
    latencies: dict[str, list[int]] = {"m1": [], "m2": []}
    tokens: dict[str, list[int]] = {"m1": [], "m2": []}
    for minute in range(0, 2 * 24 * 60, 10):
        model = dice.choice(("m1", "m2"))
        usage = Usage(source="provider", input=dice.randrange(2_000), output=1 + dice.randrange(900))
        latency_ms = int(dice.lognormvariate(6, 1))
        ends.append(closed(SPRING + minute * MINUTE, usage, model=model, latency_ms=latency_ms))
        latencies[model].append(latency_ms)
        tokens[model].append(usage.prompt + usage.completion)
    ends += [closed(SPRING + hour * HOUR, model="m1") for hour in range(12)]
    put_down(app, person, ends)
    answer = await app.ask("GET", f"{PATH}?from=2026-03-28&to=2026-03-30", token=person.token)
    assert answer.status == 200, answer
    said = answer.json
    assert (said["totals"]["requests"], said["totals"]["failed"], said["error_rate"]) == (288, 12, "0.040000")
    assert said["mean"]["total_tokens"] == said["totals"]["total_tokens"] // 288
    assert said["mean"]["input_tokens"] == said["totals"]["input_tokens"] // 288
    everything = {"model": None, **said}
    for each in (everything, *said["models"]):
        wanted = ("m1", "m2") if each["model"] is None else (each["model"],)
        for percent in (50, 95, 99):
            assert near(each["latency_ms"][f"p{percent}"], [ms for m in wanted for ms in latencies[m]], percent)
            assert near(each["tokens"][f"p{percent}"], [count for m in wanted for count in tokens[m]], percent)
    assert [each["model"] for each in said["models"]] == ["m1", "m2"]
    assert sum(each["totals"]["requests"] for each in said["models"]) == 288


async def test_csv_200(app: Running) -> None:
    """A line for all requests and one for each model, with the figures of the JSON."""
    person, query = await app.register(), "from=2026-03-28&to=2026-03-30"
    ends = [closed(SPRING, Usage(source="provider", input=30, output=9), model=model, latency_ms=70) for model in "ab"]
    put_down(app, person, [*ends, closed(SPRING + HOUR, model="b")])
    headers = {"Authorization": f"Bearer {person.token}", "Accept": "text/csv"}
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}{PATH}?{query}", headers=headers) as got:
        assert (got.status, got.content_type) == (200, "text/csv")
        lines = list(csv.DictReader(io.StringIO(await got.text(), newline="")))
    said = (await app.ask("GET", f"{PATH}?{query}", token=person.token)).json
    assert [line["model"] for line in lines] == ["", "a", "b"]
    for line, shown in zip(lines, [said, *said["models"]], strict=True):
        figures = {**shown["totals"], "error_rate": shown["error_rate"]}
        for part in ("mean", "latency_ms", "tokens"):
            figures |= {f"{part}_{name}": value for name, value in shown[part].items()}
        assert line == {"model": line["model"], **{name: str(value) for name, value in figures.items()}}


async def test_percentiles_say_what_they_are_of(app: Running) -> None:
    """Whole quarters of a UTC day around the period; the totals are of the period itself."""
    person = await app.register()
    usage = Usage(source="provider", output=10)
    put_down(app, person, [closed(SPRING + hour * HOUR, usage, latency_ms=100 + hour) for hour in range(-24, 48)])
    query = "from=2026-03-28&to=2026-03-29&time_zone=Europe/Berlin"
    said = (await app.ask("GET", f"{PATH}?{query}", token=person.token)).json
    assert said["percentiles"] == {"from": "2026-03-27T18:00:00Z", "to": "2026-03-29T00:00:00Z", "error_percent": 5}
    assert said["totals"]["requests"] == 24


async def test_what_came_late_counts(app: Running) -> None:
    """A request that was taken for failed and was not is no error; nobody knows how long an expired one took."""
    person = await app.register()
    ended = closed(SPRING)
    put_down(app, person, [ended, corrected(ended, Usage(source="provider", output=10), latency_ms=900)])
    said = (await app.ask("GET", f"{PATH}?from=2026-03-28&to=2026-03-29", token=person.token)).json
    assert (said["error_rate"], said["tokens"]["p50"]) == ("0.000000", 10)
    assert abs(said["latency_ms"]["p50"] - 900) <= 45


async def test_nothing_is_null(app: Running) -> None:
    """Without requests there is no mean and no rate; at the end of time as well."""
    person = await app.register()
    for query in ("", "?from=9999-12-31&to=9999-12-31T23:59:59Z", "?to=1970-01-02"):
        answer = await app.ask("GET", f"{PATH}{query}", token=person.token)
        assert answer.status == 200, answer
        said = answer.json
        assert (said["error_rate"], said["mean"]["cost"], said["latency_ms"]["p95"], said["models"]) == (
            *(None, None, None),
            [],
        )


@pytest.mark.parametrize("query", ["from=x", "time_zone=x", "group_by=model", f"from=1970-01-01&to={DAY}"])
async def test_statistics_400(app: Running, query: str) -> None:
    """What is no period, or no zone, is refused."""
    person = await app.register()
    assert (await app.ask("GET", f"{PATH}?{query}", token=person.token)).status == 400
