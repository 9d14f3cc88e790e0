"""Counts of refused requests: bounded, sent by the minute, and in nobody's way."""

from typing import Any

from api.caller import Caller
from api.command_log.bus import Ack, BusUnavailable
from api.errors import ApiError, refusal
from api.master_keys import MasterKeys
from api.refused_requests import COUNTS_MAX, RefusedRequests
from api.sealing import Sealer
from domain.audit import ENTRIES_MAX, RecordRefusals
from domain.envelope import Envelope
from domain.instant import MINUTE, SECOND
from eventstore.clock import system_clock
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch
from telemetry.metrics import REGISTRY
from tests.eventstore.rows import claimed, write

T0 = 1_800_000_000 * SECOND + 7


class Outbox:
    """Takes what is sent, or is away."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.away = False

    async def send(self, envelope: Envelope) -> Ack:
        """See `api.command_log.commands.Commands`."""
        if self.away:
            raise BusUnavailable("away")
        self.sent.append(envelope)
        return Ack(shard=0, offset=len(self.sent))

    def refusals(self) -> list[tuple[str, str, str, int]]:
        """(account, key or user, code, count) of all that was sent."""
        found = []
        for envelope in self.sent:
            assert isinstance(envelope.body, RecordRefusals)
            found += [
                (envelope.header.account, each.actor.key_id or each.actor.id, each.code, each.count)
                for each in envelope.body.refusals
            ]
        return found


def counting(store: MemoryStore | None = None) -> tuple[RefusedRequests, Outbox]:
    """A counter over a memory store, and what it sends."""
    outbox = Outbox()
    sealer = Sealer(store or MemoryStore(1, system_clock), MasterKeys({"m": bytes(32)}))
    commands: Any = outbox
    return RefusedRequests(commands=commands, sealer=sealer, clock=lambda: T0), outbox


def caller(user: str = "u", *, account: str = "a", key: str | None = None) -> Caller:
    """Somebody who is known."""
    return Caller(kind="key" if key else "user", user_id=user, account_id=account, key_id=key, address="203.0.113.7")


async def test_refusals_are_counted_by_principal_code_and_account() -> None:
    """One command an account, with the minute in which the counting began; once it is sent it is not sent again."""
    counted, outbox = counting()
    for _ in range(3):
        counted.note(caller(), ApiError("missing_scope"), "GET /x")
    counted.note(caller(key="k"), ApiError("missing_scope"), "GET /x")
    counted.note(caller(), ApiError("insufficient_credits"), "GET /y")
    counted.note(caller(account="b"), ApiError("missing_scope"), "GET /x")
    await counted.flush()
    await counted.flush()
    assert sorted(outbox.refusals()) == [
        ("a", "k", "missing_scope", 1),
        ("a", "u", "insufficient_credits", 1),
        ("a", "u", "missing_scope", 3),
        ("b", "u", "missing_scope", 1),
    ]
    assert len(outbox.sent) == 2
    assert {envelope.header.stream for envelope in outbox.sent} == {"audit:a", "audit:b"}
    bodies = [envelope.body for envelope in outbox.sent]
    assert all(isinstance(body, RecordRefusals) and body.minute == T0 - T0 % MINUTE for body in bodies)
    assert b"203.0.113.7" not in repr(outbox.sent).encode(), "the address is sealed"


async def test_only_refusals_of_somebody_are_counted() -> None:
    """Not what a worker decided, which is on record by command; not mistakes, faults of ours, or of nobody."""
    counted, outbox = counting()
    decided = refusal(b'{"code":"account_suspended","kind":"forbidden","message":"m"}')
    counted.note(caller(), decided, "POST /x")
    for code in ("invalid_json", "not_found", "internal_error"):
        counted.note(caller(), ApiError(code), "POST /x")
    counted.note(Caller(kind="anonymous"), ApiError("missing_credentials"), "POST /x")
    await counted.flush()
    assert outbox.sent == []


async def test_a_claim_is_on_record_at_once() -> None:
    """By itself, and not again with the minute's counts; refused for its rate it is only counted."""
    counted, outbox = counting()
    await counted.record(caller(), ApiError("amount_mismatch"), "POST /x")
    assert outbox.refusals() == [("a", "u", "amount_mismatch", 1)]
    await counted.record(caller(), ApiError("rate_limited"), "POST /x")
    await counted.record(caller(), ApiError("invalid_json"), "POST /x")
    assert len(outbox.sent) == 1
    await counted.flush()
    assert outbox.refusals()[1:] == [("a", "u", "rate_limited", 1)]


async def test_a_claim_waits_while_the_log_is_away() -> None:
    """Then it is counted, and goes on record with the next minute's."""
    counted, outbox = counting()
    outbox.away = True
    await counted.record(caller(), ApiError("amount_mismatch"), "POST /x")
    outbox.away = False
    await counted.flush()
    assert outbox.refusals() == [("a", "u", "amount_mismatch", 1)]


async def test_counts_are_bounded() -> None:
    """Beyond the bound a metric counts, and what is counted already goes on; a command is never larger than allowed."""
    counted, outbox = counting()
    before = _unrecorded()
    for number in range(COUNTS_MAX + 5):
        counted.note(caller(key=f"k{number}"), ApiError("missing_scope"), "GET /x")
    counted.note(caller(key="k0"), ApiError("missing_scope"), "GET /x")
    assert _unrecorded() - before == 5
    await counted.flush()
    assert len(outbox.refusals()) == COUNTS_MAX
    assert ("a", "k0", "missing_scope", 2) in outbox.refusals()
    assert len(outbox.sent) == COUNTS_MAX // ENTRIES_MAX


async def test_a_log_that_is_away_costs_the_counts_and_nothing_else() -> None:
    """Best effort: what cannot be sent is lost, and the next minute counts anew."""
    counted, outbox = counting()
    counted.note(caller(), ApiError("missing_scope"), "GET /x")
    outbox.away = True
    await counted.flush()
    outbox.away = False
    counted.note(caller(), ApiError("missing_scope"), "GET /x")
    await counted.stop()
    assert outbox.refusals() == [("a", "u", "missing_scope", 1)]


async def test_a_user_who_was_erased_meanwhile_is_counted_without_an_address() -> None:
    """Nothing can be sealed for an erased user any more."""
    store = MemoryStore(1, system_clock)
    await write(store, "w", await claimed(store, "w"), Batch(keys_erased=["user:u"]))
    counted, outbox = counting(store)
    counted.note(caller(), ApiError("missing_scope"), "GET /x")
    await counted.flush()
    [envelope] = outbox.sent
    assert isinstance(envelope.body, RecordRefusals)
    assert envelope.body.refusals[0].actor.origin is None


def _unrecorded() -> float:
    return REGISTRY.get_sample_value("formstate_refusals_unrecorded_total") or 0.0
