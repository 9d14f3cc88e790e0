"""A refused command as a row: what the audit trail of its acting account shows."""

from msgspec.structs import replace

from domain.envelope import Header
from domain.instant import Instant
from domain.message import Command
from eventstore import codec
from eventstore.records import Refusal


def refusal_of(header: Header, command: Command, code: str, shard: int, at: Instant, macs: codec.MacChain) -> Refusal:
    """The row, with its mac."""
    refusal = Refusal(
        shard=shard,
        command_id=header.id,
        attempt=header.attempt,
        account=header.account,
        at=at,
        command=codec.tag_of(command),
        code=code,
        actor=codec.encode_json(header.actor),
        mac=b"",
    )
    return replace(refusal, mac=macs.seal(codec.refusal_place(refusal), refusal.actor))
