"""Values that one stream alone may hold: what a batch claims, and which of its commands wait for each other."""

from collections.abc import Mapping, Sequence

import structlog

from domain.envelope import Header
from domain.message import Claim, Command
from eventstore import codec
from eventstore.records import ClaimRow, Outcome
from worker.incoming import Incoming

log = structlog.get_logger(__name__)


def claims_of(command: Command) -> tuple[Claim, ...]:
    """What the command claims; nothing where that is a bug of ours, which shows again when it is decided."""
    try:
        return command.claims()
    except Exception:
        log.exception("claims_failed", command=codec.tag_of(command))
        return ()


def claim_row(claim: Claim, shard: int, header: Header) -> ClaimRow:
    """The row by which one attempt of a command takes a claim for its stream.

    A refusal frees what its own attempt has taken and nothing else: the stream may hold the claim through another.
    """
    taker = f"{header.id}/{header.attempt}"
    return ClaimRow(kind=claim.kind, value=claim.value, shard=shard, stream=header.stream, command_id=taker)


def claims_wanted(incoming: Sequence[Incoming], outcomes: Mapping[str, Outcome]) -> list[tuple[Incoming, ClaimRow]]:
    """The rows that commands want which are not settled yet."""
    rows: list[tuple[Incoming, ClaimRow]] = []
    for each in incoming:
        claims: tuple[Claim, ...] = claims_of(each.envelope.body) if each.envelope else ()
        if not claims or each.envelope is None:
            continue
        header = each.envelope.header
        known = outcomes.get(header.id)
        if known is None or not known.settles(header.attempt):
            rows += [(each, claim_row(claim, each.record.shard, header)) for claim in claims]
    return rows


def until_claimed_twice(
    incoming: list[Incoming], claims: Sequence[tuple[Incoming, ClaimRow]]
) -> tuple[list[Incoming], list[ClaimRow]]:
    """Ends each shard's records before one that claims what another stream of the batch claims; with the claims left.

    The first might be refused, and then its claim is free again: the second is decided in the next round, knowing.
    """
    holders: dict[tuple[str, str], str] = {}
    cut: dict[int, int] = {}
    for each, row in claims:
        holder = holders.setdefault((row.kind, row.value), row.stream)
        if holder != row.stream:
            cut.setdefault(each.record.shard, each.record.offset)

    def stays(each: Incoming) -> bool:
        return each.record.offset < cut.get(each.record.shard, each.record.offset + 1)

    rows = [row for each, row in claims if stays(each)]
    return ([each for each in incoming if stays(each)] if cut else incoming), rows
