"""A refused command leaves a row for its account's audit trail, in the transaction of its outcome."""

import msgspec

from domain.account.credits import AddCredits
from domain.envelope import Actor
from domain.user import GrantRole
from eventstore import codec
from tests.domain.account.asking import place
from tests.worker.bench import ACTOR, MACS, T0, Bench


async def test_a_refusal_is_on_record_with_who_asked() -> None:
    """Command, code, actor and acting account, with a mac of their own; a repeat adds nothing."""
    bench = Bench()
    command_id = await bench.send("user:u1", GrantRole(role="admin"))
    await bench.send("user:u1", GrantRole(role="admin"), command_id=command_id)
    await bench.run()
    [refusal] = await bench.store.refusals("u1", limit=5)
    assert (refusal.command_id, refusal.attempt, refusal.at) == (command_id, "attempt-1", T0)
    assert (refusal.command, refusal.code) == ("user.grant_role", "user_not_found")
    assert msgspec.json.decode(refusal.actor, type=Actor) == ACTOR
    assert MACS.is_sealed(refusal.mac, codec.refusal_place(refusal), refusal.actor)
    assert not MACS.is_sealed(refusal.mac, codec.refusal_place(refusal), b"{}")


async def test_a_cured_refusal_stays_on_record() -> None:
    """The outcome says `applied` in the end; the trail says that it was refused at first."""
    bench = Bench()
    command_id = await bench.send("account:a1", place("hold_1", 5))
    await bench.run()
    grant = AddCredits(grant_id="g", amount=9, source="t", reference="g", priority=1, expires_at=None)
    await bench.send("account:a1", grant)
    await bench.send("account:a1", place("hold_1", 5), command_id=command_id, attempt="attempt-2")
    await bench.run()
    assert (await bench.said(command_id))[0] == "applied"
    assert [each.code for each in await bench.store.refusals("a1", limit=5)] == ["insufficient_credits"]
