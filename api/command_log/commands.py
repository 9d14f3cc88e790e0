"""From a request to an envelope, and from an envelope to its outcome."""

from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from msgspec import structs

from api.command_log.bus import Ack, BusUncertain, CommandBus
from api.command_log.command_token import CommandToken
from api.command_log.lag import Lag
from api.command_log.outcomes import OutcomePoller
from api.errors import ApiError, refusal
from api.ids import derived, random_hex, uuid7
from api.origin import seal_origin
from domain.envelope import Envelope, Header
from domain.instant import MINUTE, SECOND, Instant
from domain.message import Command
from eventstore.codec import COMMAND_SIZE_BYTES_MAX, encode_command
from eventstore.records import Outcome
from eventstore.shards import shard_of
from telemetry import metrics

if TYPE_CHECKING:
    from api.call import Call

WAIT_S = 10.0
"""How long a write waits for its outcome before it answers 202."""
DEADLINE: Instant = 30 * SECOND
"""How long a command may still be applied after it was issued: its client has given up long before."""
DEADLINE_ASYNC: Instant = 10 * MINUTE
"""The same for a client that said it would not wait."""

_sends = metrics.seconds("command_send_seconds", "From a command to its acknowledgement by the log.")
_waits = metrics.seconds("command_wait_seconds", "From acknowledgement to outcome.")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Accepted(Exception):
    """202: the command is on its way. The endpoint turns it into the answer; `public_id` is its signed id."""

    def __init__(self, public_id: str) -> None:
        super().__init__(public_id)
        self.public_id = public_id


class Commands:
    """Sends envelopes and fetches outcomes; the gateway uses it directly, nouns through `Draft`."""

    def __init__(self, bus: CommandBus, poller: OutcomePoller, lag: Lag, shards: int) -> None:
        self._bus = bus
        self.lag = lag
        """How far the workers are behind."""
        self.poller = poller
        """`poke` it after commits, where API and worker share a process."""
        self.shards = shards

    def shard(self, stream: str) -> int:
        """The shard of a stream."""
        return shard_of(stream, self.shards)

    async def send(self, envelope: Envelope) -> Ack:
        """Writes the envelope to the log: 413 `command_too_large`; `BusUnavailable`, `BusUncertain` otherwise.

        While the workers are too far behind new work is refused; what must never be lost always passes.
        """
        record = encode_command(envelope)
        if len(record) > COMMAND_SIZE_BYTES_MAX:
            raise ApiError("command_too_large", limit_bytes=COMMAND_SIZE_BYTES_MAX)
        stream = envelope.header.stream
        shard = shard_of(stream, self.shards)
        if envelope.body.shed:
            self.lag.admit(shard)
        began = perf_counter()
        try:
            return await self._bus.send(shard, stream.encode(), record)
        finally:
            _sends.observe(perf_counter() - began)

    async def outcome(
        self, shard: int, command_id: str, attempt: str, timeout_s: float, *, fingerprint: str | None = None
    ) -> Outcome | None:
        """The outcome that settles the attempt, or `None` when there is none within `timeout_s`.

        With a `fingerprint`, also the outcome of another request under the same id; see `refuse_reuse`.
        """
        began = perf_counter()
        try:
            return await self.poller.wait(shard, command_id, attempt, timeout_s, fingerprint=fingerprint)
        finally:
            _waits.observe(perf_counter() - began)


class Draft:
    """One command in the making: its id is known before its body is.

    `command_id` is a UUIDv7 (RFC 9562), or with an `Idempotency-Key` uuid5 of principal, acting account, method, actual
    path and key. `attempt` is random. Made by `Call.draft`.
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
        self._call = call
        self._stream = stream
        self._fingerprint = fingerprint
        self.account = call.caller.account_id if account is None else account
        self.attempt = random_hex()
        key = call.idempotency_key
        if command_id is not None:
            self.command_id = command_id
        elif key is not None:
            who = call.caller.principal if principal is None else principal
            self.command_id = derived(who, self.account, call.method, call.url_path, key)
        else:
            self.command_id = uuid7()
        self.repeatable = command_id is not None or key is not None
        """Another request may come under the same id, so the request's fingerprint goes along."""

    def new_id(self, noun: str) -> str:
        """`key_<32 hex>` for the noun `key`: uuid5 of command id and noun, so that a repeat meets the same entity."""
        return f"{noun}_{derived(self.command_id, noun).replace('-', '')}"

    @property
    def fingerprint(self) -> str | None:
        """The request's fingerprint, where another request could come under the same command id."""
        if self._fingerprint is None and self.repeatable:
            self._fingerprint = self._call.fingerprint
        return self._fingerprint

    async def envelope(self, command: Command, *, stream: str | None = None) -> Envelope:
        """The command with its header, for those who send it themselves. What must never be lost has no deadline."""
        services = self._call.services
        issued_at = services.clock()
        patience = DEADLINE_ASYNC if self._call.respond_async else DEADLINE
        stream = stream or self._stream
        if stream is None:
            raise ValueError("a command needs a stream")
        return Envelope(
            header=Header(
                id=self.command_id,
                attempt=self.attempt,
                stream=stream,
                account=self.account,
                actor=self._call.caller.actor(await self._origin(stream)),
                issued_at=issued_at,
                deadline=issued_at + patience if command.shed else None,
                trace=self._call.traceparent,
                fingerprint=self.fingerprint,
            ),
            body=command,
        )

    async def _origin(self, stream: str) -> str | None:
        """Address and user agent under the author's own data key; of a new user under the key that is made for it."""
        caller = self._call.caller
        subject = f"user:{caller.user_id}" if caller.user_id else stream
        if not subject.startswith("user:"):
            return None
        known = self._call.sealed_origin
        if known is None or known[0] != subject:
            sealed = await seal_origin(self._call.services.sealer, subject, caller.address, caller.user_agent)
            known = self._call.sealed_origin = (subject, sealed)
        return known[1]

    async def submit(self, command: Command, *, stream: str | None = None, wait_s: float = WAIT_S) -> Outcome:
        """Sends the command and waits for its outcome, which was applied if this returns.

        `ApiError` of a rejected outcome, 422 for another fingerprint, 503 `outcome_unknown` when nobody knows whether
        it was written; `Accepted` (202) when `wait_s` passes or the client prefers not to wait.
        """
        envelope = await self.envelope(command, stream=stream)
        commands = self._call.services.commands
        commands.poller.admit()
        shard = commands.shard(envelope.header.stream)
        try:
            ack = await commands.send(envelope)
        except BusUncertain:
            raise self.unknown(shard) from None
        public_id = self.public_id(ack.shard, ack.offset)
        if self._call.respond_async:
            raise Accepted(public_id)
        outcome = await commands.outcome(
            shard, self.command_id, self.attempt, wait_s, fingerprint=envelope.header.fingerprint
        )
        if outcome is None:
            raise Accepted(public_id)
        if outcome.status != "applied" or outcome.fingerprint != envelope.header.fingerprint:
            self.refuse(outcome, public_id)
        return outcome

    async def known(self) -> Outcome | None:
        """The outcome that a request under this command id has, unless another attempt may still change it."""
        services = self._call.services
        stream = self._stream
        if stream is None:
            raise ValueError("a command needs a stream")
        shard = services.commands.shard(stream)
        found = (await services.store.read_outcomes([(shard, self.command_id)])).get(self.command_id)
        return None if found is None or found.curable else found

    async def remember(self, command: Command) -> Outcome:
        """Submits a command that changes nothing, and whose outcome remembers this request's Idempotency-Key.

        It is waited for whatever the client prefers: what it asked for is another command. 503 `outcome_unknown` if
        that takes too long; 422 as in `submit`.
        """
        known = await self.known()
        if known is None:
            envelope = await self.envelope(command)
            shard = self._call.services.commands.shard(envelope.header.stream)
            try:
                await self._call.services.commands.send(envelope)
            except BusUncertain:
                raise self.unknown(shard) from None
            known = await self._call.services.commands.outcome(
                shard, self.command_id, self.attempt, WAIT_S, fingerprint=self.fingerprint
            )
            if known is None:
                raise self.unknown(shard)
        if known.status != "applied" or known.fingerprint != self.fingerprint:
            self.refuse(known, self.public_id(known.shard, None))
        return known

    def public_id(self, shard: int, offset: int | None) -> str:
        """The signed id for `GET /commands/{id}`: whoever sent the command may ask, whomever it acts on."""
        token = CommandToken(
            shard=shard,
            offset=offset,
            command_id=self.command_id,
            attempt=self.attempt,
            owner=self._call.caller.account_id,
        )
        return token.sign(self._call.services.lookup)

    def unknown(self, shard: int) -> ApiError:
        """503 `outcome_unknown`: the log has not answered whether it has the command."""
        return _with_status("outcome_unknown", self.public_id(shard, None))

    def refuse(self, outcome: Outcome, public_id: str) -> NoReturn:
        """Raises what a rejected, failed or quarantined outcome, or another request's, means for the client."""
        if outcome.fingerprint != self.fingerprint:
            raise ApiError("idempotency_key_reused", param="Idempotency-Key")
        match outcome.status:
            case "rejected":
                raise refusal(outcome.data)
            case "failed":
                raise _with_status("command_failed", public_id)
            case _:
                raise _with_status("command_quarantined", public_id)


def follow_up(envelope: Envelope, command: Command, at: Instant) -> Envelope:
    """A later command by the same actor on the same stream: under an id of its own, and without a deadline."""
    header = structs.replace(
        envelope.header, id=uuid7(), attempt=random_hex(), issued_at=at, deadline=None, fingerprint=None
    )
    return Envelope(header=header, body=command)


def _with_status(code: str, public_id: str) -> ApiError:
    return ApiError(code, headers={"Retry-After": "1"}, command_id=public_id, status_url=f"/commands/{public_id}")


def data_of(outcome: Outcome) -> dict[str, Any]:
    """The answer's data of an applied outcome: plain JSON values, money in micro-credits."""
    return _decode(outcome.data)
