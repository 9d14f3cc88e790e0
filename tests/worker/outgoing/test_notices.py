"""Notices say what the documents say, under ids that stay, and receivers can check them as the documents show."""

import base64
import re
from collections import Counter
from typing import Any

import pytest
from msgspec import structs

from domain.account.payments import DisputePayment, RefundPayment
from domain.instant import DAY, SECOND
from domain.recorded import Metadata, Recorded
from eventstore import codec
from eventstore.shards import shard_of
from tests.docs.markdown import blocks_of, table_of
from tests.domain.account.asking import account
from tests.domain.account.subscribing import news
from tests.domain.golden.sample import made_up
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import now
from tests.worker.bench import ACTOR, T0
from tests.worker.outgoing.logs import confirmed
from worker.outgoing.notices import NOTICES, told
from worker.outgoing.webhooks import Webhooks, outbound_http, signed_headers

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


async def test_a_notice_has_the_id_of_its_event() -> None:
    """Made again from the log it is the same, byte for byte."""
    event = confirmed("1")
    recorded = Recorded(
        stream="account:user_1",
        entity_id="user_1",
        version=3,
        shard=shard_of("account:user_1", SHARDS),
        seq=9,
        at=T0,
        metadata=Metadata(command_id="c", account="a", actor=ACTOR),
        event=event,
    )
    async with outbound_http() as http:
        target = Webhooks("http://127.0.0.1:1/", {"k": NEW}, http)
        (first,), (again,) = (target.deliveries(0, [recorded], at) for at in (T0, T0 + DAY))
    assert (first.id, first.body, first.seq) == (again.id, again.body, again.seq)
    assert first.id.startswith("evt_")


def test_the_documented_check_fits() -> None:
    """What the documents give receivers takes what we sign, with any of its secrets, and refuses all else."""
    (program,) = [block for block in blocks_of("docs/webhooks.md") if block.language == "python"]
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(program.text, names)  # noqa: S102  # as a reader would
    verify, at = names["verify"], now() // SECOND
    headers = signed_headers([NEW, OLD], "evt_1", at, b"body")
    new, old = (base64.b64encode(key).decode() for key in (NEW, OLD))
    verify(new, headers, b"body")
    verify(old, headers, b"body")
    other = base64.b64encode(bytes(32)).decode()
    wrong = [(other, headers, b"body"), (new, headers, b"bodY"), (new, headers | {"webhook-id": "evt_2"}, b"body")]
    wrong.append((new, signed_headers([NEW], "evt_1", at - 301, b"body"), b"body"))
    for secret, head, body in wrong:
        with pytest.raises(ValueError, match=r"no signature fits|too old"):
            verify(secret, head, body)


def test_what_is_not_new_is_not_told() -> None:
    """Stripe tells of one refund, dispute and change of plan in several events each: one notice of each change."""
    scenario = account()
    refunds = [
        RefundPayment(payment_id="p", refunded_cents=cents, occurred_at=at) for at, cents in enumerate((3, 3, 5))
    ]
    opened = DisputePayment(payment_id="p", dispute_id="d", status="open", amount_cents=7, occurred_at=1)
    closed = structs.replace(opened, status="won", occurred_at=3)
    period = {"period_start": T0, "period_end": T0 + 30 * DAY}
    plans = [
        news(f"sub_1/{at}", at, status=status, **period) for at, status in enumerate(("active", "active", "past_due"))
    ]
    commands = (*refunds, opened, structs.replace(opened, occurred_at=2), closed, *plans)
    for command in commands:
        assert scenario.when(command), "each is on record, and what was known before it is old"
    tags = [codec.tag_of(event) for event in scenario.events if told(event) is not None]
    assert Counter(tags) == {"payment.refunded": 2, "payment.disputed": 2, "subscription.confirmed": 2}


def test_every_notice_is_documented() -> None:
    """The table has each type that is told, with its own fields, and none besides."""
    listed = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[-1]))
        for row in table_of("docs/webhooks.md", "## What is told")
    }
    assert listed == {str(kind.__struct_config__.tag): set(tell(made_up(kind))) for kind, tell in NOTICES.items()}
