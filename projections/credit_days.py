"""Credits that came in, ran out and were owed, by day (UTC); what was used of them is in `usage_days`.

All that ever came in, less what was used, ran out and was taken back, is the balance less the debt. A charge that the
balance covers changes nothing here, so a request that is paid for writes none of these documents.
"""

from collections.abc import AsyncIterator

import msgspec
from msgspec import Struct, structs

from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.instant import DAY, Instant
from domain.message import Event
from domain.money import MicroCredits
from domain.recorded import Recorded
from projections.documents import DocumentReader
from projections.paging import instant_sort, read_period
from projections.projection import Projection
from projections.usage import QUARTER

PAGE = 400
FLOWS = ("granted", "given_back", "expired", "taken_back")
_decode = msgspec.json.Decoder(list[list[int]]).decode
_decode_row = msgspec.json.Decoder(list[int]).decode
_encode = msgspec.json.Encoder().encode


class CreditDay(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A day of one account. `slots` is JSON, `[[quarter of an hour, granted, …, debt then], …]` in their order."""

    account_id: str
    start: Instant
    slots: str = ""


class Flow(Struct, frozen=True, kw_only=True):
    """What happened in a quarter of an hour from `at` on, and the debt after it."""

    at: Instant
    granted: MicroCredits
    given_back: MicroCredits
    expired: MicroCredits
    taken_back: MicroCredits
    debt: MicroCredits


def _moved(event: Event) -> tuple[tuple[int, ...], MicroCredits | None]:
    """What is added to the flows, and the debt after it; `None` where that stays as it was."""
    match event:
        case CreditsGranted():
            return (event.amount, 0, 0, 0), event.debt
        case CreditsGivenBack():
            return (0, event.amount, 0, 0), event.debt
        case GrantExpired():
            return (0, 0, event.amount, 0), None
        case CreditsTakenBack():
            return (0, 0, 0, event.amount), event.debt
        case DebtRepaid() | HoldClosed() | HoldCorrected():
            return (0, 0, 0, 0), event.debt
        case _:
            raise AssertionError(f"{type(event).__name__} moves no credits")


def _key(recorded: Recorded) -> str | None:
    match recorded.event:
        case HoldClosed(owed=0) | HoldCorrected(owed=0, repaid=0):
            return None
    return f"{recorded.entity_id}:{instant_sort(recorded.at - recorded.at % DAY)}"


def _evolve(day: CreditDay | None, recorded: Recorded) -> CreditDay:
    if day is None:
        day = CreditDay(account_id=recorded.entity_id, start=recorded.at - recorded.at % DAY)
    slot = (recorded.at - day.start) // QUARTER
    before, row = _begun(day.slots, slot)
    added, debt = _moved(recorded.event)
    flows = [known + more for known, more in zip(row[1:-1], added, strict=True)]
    text = _encode([slot, *flows, row[-1] if debt is None else debt]).decode("ascii")
    return structs.replace(day, slots=f"{before}{text}]")


def _begun(slots: str, slot: int) -> tuple[str, list[int]]:
    """The text before a slot that is the last or a later one, since a stream's time never goes back; and the slot."""
    if not slots:
        # What nobody has said of the debt in this day yet is `-1`: as it was the day before.
        return "[", [slot, *(0,) * len(FLOWS), -1]
    place = slots.rfind("[")
    last = _decode_row(slots[place:-1])
    if last[0] == slot:
        return slots[:place], last
    return f"{slots[:-1]},", [slot, *(0,) * len(FLOWS), last[-1]]


PROJECTION = Projection(
    collection="credit_days",
    version=1,
    document=CreditDay,
    events=(CreditsGranted, CreditsGivenBack, GrantExpired, CreditsTakenBack, DebtRepaid, HoldClosed, HoldCorrected),
    key=_key,
    evolve=_evolve,
    owner=lambda day: day.account_id,
    sort=lambda day: instant_sort(day.start),
)


async def list_flows(
    documents: DocumentReader, shards: int, account_id: str, start: Instant, end: Instant
) -> tuple[MicroCredits, list[Flow]]:
    """The debt at `start`, and what has happened from then to `end`, in order; both are multiples of a quarter hour."""
    debt = await _debt_before(documents, shards, account_id, start - start % DAY)
    told: list[Flow] = []
    async for day in _days(documents, shards, account_id, newest_first=False, start=start - start % DAY, end=end):
        for slot, *flows, after in _decode(day.slots):
            at = day.start + slot * QUARTER
            known = after if after >= 0 else told[-1].debt if told else debt
            if at < start:
                debt = known
            elif at < end:
                told.append(Flow(at=at, debt=known, **dict(zip(FLOWS, flows, strict=True))))
    return debt, told


async def _debt_before(documents: DocumentReader, shards: int, account_id: str, end: Instant) -> MicroCredits:
    """The last that was said of it; nearly always that is in the newest document."""
    async for day in _days(documents, shards, account_id, newest_first=True, start=0, end=end):
        last: MicroCredits = _decode(day.slots)[-1][-1]
        if last >= 0:
            return last
    return 0


def _days(
    documents: DocumentReader, shards: int, account_id: str, *, newest_first: bool, start: Instant, end: Instant
) -> AsyncIterator[CreditDay]:
    stream = f"account:{account_id}"
    return read_period(documents, PROJECTION, shards, stream, start, end, page=PAGE, newest_first=newest_first)
