"""From a request to an envelope, and from an envelope to its outcome."""

from typing import TYPE_CHECKING, Any, NoReturn

from api.bus import Ack, CommandBus
from api.outcomes import OutcomePoller
from domain.envelope import Envelope
from domain.message import Command
from eventstore.records import Outcome

if TYPE_CHECKING:
    from api.call import Call

WAIT_S = 10.0


class Accepted(Exception):
    """202: the command is on its way. The endpoint turns it into the answer; `status` is `pending` or `unknown`."""

    def __init__(self, public_id: str, status: str) -> None:
        super().__init__(status)
        self.public_id = public_id
        self.status = status


class Commands:
    """Sends envelopes and fetches outcomes; the gateway uses it directly, nouns through `Draft`."""

    def __init__(self, bus: CommandBus, poller: OutcomePoller, shards: int) -> None:
        self._bus = bus
        self._poller = poller
        self._shards = shards

    def shard(self, stream: str) -> int:
        """The shard of a stream."""
        raise NotImplementedError

    async def send(self, envelope: Envelope) -> Ack:
        """Writes the envelope to the log: 413 `command_too_large`; `BusUnavailable`, `BusUncertain` otherwise."""
        raise NotImplementedError

    async def outcome(self, shard: int, command_id: str, attempt: str, timeout_s: float) -> Outcome | None:
        """The outcome that settles the attempt, or `None` when there is none within `timeout_s`."""
        raise NotImplementedError


class Draft:
    """One command in the making: its id is known before its body is.

    `command_id` is a UUIDv7 (RFC 9562), or with an `Idempotency-Key` uuid5 of principal, acting account, method, actual
    path and key. `attempt` is random.
    """

    def __init__(
        self,
        call: "Call[Any, Any]",
        stream: str | None,
        *,
        account: str | None,
        principal: str | None,
        command_id: str | None,
        fingerprint: str | None,
    ) -> None:
        self.call = call
        self.stream = stream
        self.command_id = ""
        self.attempt = ""

    def new_id(self, noun: str) -> str:
        """`key_<32 hex>` for the noun `key`: uuid5 of command id and noun, so that a repeat meets the same entity."""
        raise NotImplementedError

    async def envelope(self, command: Command, *, stream: str | None = None, wait_s: float = WAIT_S) -> Envelope:
        """The command with its header; deadline and all. For those who send it themselves."""
        raise NotImplementedError

    async def submit(self, command: Command, *, stream: str | None = None, wait_s: float = WAIT_S) -> Outcome:
        """Sends the command and waits for its outcome, which was applied if this returns.

        `ApiError` of a rejected outcome, 422 for another fingerprint, 503 `outcome_unknown` when nobody knows whether
        it was written; `Accepted` (202) when `wait_s` passes or the client prefers not to wait.
        """
        raise NotImplementedError

    def refuse(self, outcome: Outcome) -> NoReturn:
        """Raises what a rejected, failed or quarantined outcome means for the client."""
        raise NotImplementedError


def data_of(outcome: Outcome) -> dict[str, Any]:
    """The answer's data of an applied outcome: plain JSON values, money in micro-credits."""
    raise NotImplementedError
