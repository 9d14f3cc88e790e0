"""A hold of which nobody knows whether it was placed leaves no credits held, whenever its command arrives."""

from api.ids import random_hex, uuid7
from devnet.log import MemoryLog
from domain.account.holds import ReleaseHold
from domain.envelope import Actor, Envelope, Header
from domain.instant import SECOND, Instant
from eventstore.clock import system_clock
from eventstore.codec import decode_command
from tests.api.gateway.account import Account, until
from tests.api.gateway.place import Place


async def _lost_place(place: Place, account: Account) -> bytes:
    """A chat whose hold's command stays in a broken producer: that command."""
    place.log.lose = lambda record: b'"hold.place"' in record
    answer = await account.chat("Hi")
    assert (answer.status, answer.error["code"]) == (503, "hold_undecided")
    place.log.lose = lambda _record: False
    return next(record for record in place.log.seen if b'"hold.place"' in record)


async def _decided(place: Place, record: bytes) -> bool:
    header = decode_command(record).header
    pair = (place.services.commands.shard(header.stream), header.id)
    return header.id in await place.services.store.read_outcomes([pair])


async def test_a_hold_that_is_placed_behind_its_release_is_released_again(place: Place) -> None:
    """The release that came too early has found no hold; another one follows."""
    account = await place.account()
    record = await _lost_place(place, account)

    async def came_too_early() -> bool:
        releases = [each for each in place.log.seen if b'"hold.release"' in each]
        return bool(releases) and await _decided(place, releases[0])

    await until(came_too_early)
    assert await account.holds() == []
    stream = decode_command(record).header.stream
    await MemoryLog.send(place.log, place.services.commands.shard(stream), stream.encode(), record)
    await until(lambda: _decided(place, record))
    (hold,) = await account.ended()
    assert (hold.status, (await account.credits()).held) == ("released", 0)


def _release(account: Account, at: Instant) -> Envelope:
    header = Header(
        id=uuid7(),
        attempt=random_hex(),
        stream=f"account:{account.id}",
        account=account.id,
        actor=Actor(kind="system", id="test"),
        issued_at=at,
    )
    return Envelope(header=header, body=ReleaseHold(hold_id="hold_none", reason="undecided"))


async def _decided_at(place: Place) -> list[Instant]:
    """When each release was decided, in the order in which they were sent."""
    headers = [decode_command(record).header for record in place.log.seen if b'"hold.release"' in record]
    pairs = [(place.services.commands.shard(header.stream), header.id) for header in headers]
    outcomes = await place.services.store.read_outcomes(pairs)
    return [outcomes[header.id].at for header in headers]


async def test_a_release_is_repeated_until_the_deadline_and_no_longer(place: Place) -> None:
    """What is decided after the deadline of the hold's command needs no other release behind it."""
    account = await place.account()
    undecided, until_then = place.services.metering.undecided, system_clock() + SECOND

    async def over() -> bool:
        return not undecided._open

    undecided.undo(_release(account, system_clock()), until_then)
    await until(over)
    *early, last = await _decided_at(place)
    assert early
    assert max(early) <= until_then < last
    undecided.undo(_release(account, system_clock()), system_clock() - SECOND)
    await until(over)
    assert len(await _decided_at(place)) == len(early) + 2
