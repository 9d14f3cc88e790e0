"""Made-up ends of holds, the documents that count them, and the same counted naively."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st
from msgspec import structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage
from domain.instant import DAY, HOUR, MINUTE, Instant
from domain.recorded import Recorded
from projections import usage_days, usage_quarters
from projections.documents import Change
from projections.projection import AnyProjection
from projections.usage import FIGURES, Figures
from projections.usage_sums import FIELDS, Question
from tests.projections.histories import METADATA, folded

ORG = "org_1"
SPRING = 1_774_656_000_000_000
"""2026-03-28T00:00:00Z, the day before Europe's clocks are set forward."""
PROJECTIONS: tuple[AnyProjection, ...] = (usage_quarters.PROJECTION, usage_days.PROJECTION)

_tokens = st.integers(0, 3_000)
usages = st.builds(
    Usage,
    source=st.sampled_from(("provider", "estimated")),
    **{kind: _tokens for kind in Usage.__struct_fields__ if kind != "source"},
)
"""Of every kind of tokens that there is."""
NOTHING = Usage(source="none")


def closed(at: Instant, usage: Usage = NOTHING, **fields: object) -> HoldClosed:
    """The end of a hold: settled if anything was used, else released."""
    settled = usage.source != "none"
    event = HoldClosed(
        hold_id="h",
        how="settled" if settled else "released",
        reason=None,
        amount=0,
        cost=usage.prompt + 2 * usage.completion,
        charged=0,
        owed=0,
        burns=(),
        usage=usage,
        model="m1",
        key_id="key_1",
        price_version="1",
        latency_ms=700 if settled else 0,
        request_id=None,
        closed_at=at,
        balance=0,
        debt=0,
    )
    return structs.replace(event, **fields)


def corrected(event: HoldClosed, usage: Usage, latency_ms: int = 0) -> HoldCorrected:
    """What is true of a hold that was closed otherwise; told two days later."""
    return HoldCorrected(
        hold_id="h",
        grant_id="g",
        difference=usage.prompt + 2 * usage.completion - event.cost,
        charged=0,
        owed=0,
        burns=(),
        repaid=0,
        usage=usage,
        replaced=event.usage,
        model=event.model,
        key_id=event.key_id,
        price_version="1",
        closed_at=event.closed_at,
        corrected_at=event.closed_at + 2 * DAY,
        balance=0,
        debt=0,
        user_id=event.user_id,
        project_id=event.project_id,
        operation=event.operation,
        agent_id=event.agent_id,
        latency_ms=latency_ms,
    )


_ends = st.builds(
    closed,
    st.integers(0, 3 * DAY // MINUTE).map(lambda minute: SPRING + minute * MINUTE),
    st.one_of(st.just(NOTHING), usages),
    model=st.sampled_from(("m1", "m2")),
    key_id=st.sampled_from((None, "key_1", "key_2")),
    user_id=st.sampled_from((None, "user_1")),
    project_id=st.sampled_from((None, "project_1")),
    operation=st.sampled_from(("chat.completions", "agent.run")),
    agent_id=st.sampled_from((None, "agent_1")),
)


@st.composite
def histories(draw: st.DrawFn) -> list[HoldClosed | HoldCorrected]:
    """Up to 25 ends within three days, some of them corrected later."""
    events: list[HoldClosed | HoldCorrected] = []
    for event in draw(st.lists(_ends, max_size=25)):
        events.append(event)
        if draw(st.booleans()):
            events.append(corrected(event, draw(st.one_of(st.just(NOTHING), usages))))
    return events


def recorded(events: Iterable[HoldClosed | HoldCorrected], account: str = ORG) -> list[Recorded]:
    """The events at their places."""
    return [
        Recorded(
            stream=f"account:{account}",
            entity_id=account,
            version=number,
            shard=0,
            seq=number,
            at=event.closed_at,
            metadata=METADATA,
            event=event,
        )
        for number, event in enumerate(events, start=1)
    ]


def changes(
    events: Iterable[HoldClosed | HoldCorrected], account: str = ORG, shard: int = 0
) -> dict[str, Sequence[Change]]:
    """What a worker would have written."""
    return {
        projection.collection: [
            Change(
                shard=shard,
                key=key,
                owner=projection.owner(document),
                sort=projection.sort(document),
                doc=projection.encode(document),
            )
            for key, document in folded(projection, recorded(events, account)).items()
        ]
        for projection in PROJECTIONS
    }


def counted(events: Iterable[HoldClosed | HoldCorrected], question: Question) -> dict[tuple[object, ...], Figures]:
    """The answer to a question, event by event: values, then the time; groups in which all is zero left out."""
    groups: dict[tuple[object, ...], Counter[str]] = {}
    for event in events:
        if not question.start <= event.closed_at < question.end or question.key_id not in (None, event.key_id):
            continue
        time = max(number for number, at in enumerate(question.times) if at <= event.closed_at)
        values = tuple(getattr(event, FIELDS[each]) for each in question.dimensions)
        group = groups.setdefault((*values, time), Counter())
        if isinstance(event, HoldClosed):
            group.update(_figures(event.usage), cost=event.cost, latency_ms=event.latency_ms)
        else:
            group.update(_figures(event.usage), cost=event.difference, latency_ms=event.latency_ms)
            group.subtract(_figures(event.replaced))
    found = {key: tuple(group[name] for name in FIGURES) for key, group in groups.items()}
    return {key: figures for key, figures in found.items() if any(figures)}


def _figures(usage: Usage) -> Counter[str]:
    return Counter(
        requests=usage.source != "none",
        failed=usage.source == "none",
        estimated=usage.source == "estimated",
        **{kind: getattr(usage, kind) for kind in Usage.__struct_fields__ if kind != "source"},
    )


HOURLY = [SPRING - DAY + hour * HOUR for hour in range(8 * 24)]
