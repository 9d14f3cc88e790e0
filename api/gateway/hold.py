"""The life of one hold as the gateway leads it: placed, reported on, and ended by exactly one settle or release."""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Raw, convert

from api.command_log.bus import Ack, BusUnavailable, BusUncertain
from api.command_log.commands import data_of, follow_up
from api.errors import ApiError, declare
from api.gateway.extras import served_as_standard
from api.gateway.metering import Metering
from api.gateway.settlement import Placed, Settlement
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold
from domain.account.quota_windows import Counted
from domain.account.usage import Price, Usage, cost, price_served
from domain.envelope import Envelope
from domain.message import Command
from eventstore.records import Outcome
from telemetry import logs

if TYPE_CHECKING:
    from api.command_log.commands import Draft

DECIDED_S = 10.0
"""How long the decision on a hold is waited for."""
OUTCOME_S = 0.25
"""How long an acknowledged settle is waited for, so that the next read agrees."""
FIRST_REPORT_S = 1.0
REPORT_EVERY_S = 5.0

_CODE = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)

declare(
    "hold_undecided",
    "unavailable",
    "The account's credits could not be reserved in time; nothing was charged.",
    "Try again after the seconds in Retry-After.",
)


class Hold:
    """One metered call's hold. Each of its commands is made once and sent until it is acknowledged (I2).

    Its id is of the attempt, not of the command: an attempt that did not win can then never end the winner's hold.
    """

    def __init__(self, metering: Metering, draft: "Draft", command: PlaceHold) -> None:
        self._metering = metering
        self._draft = draft
        self._command = command
        self._account_id = draft.account
        self._envelope: Envelope | None = None
        self._ack: Ack | None = None
        self._settlement: Envelope | None = None
        self._placed: Placed | None = None
        self._reserved = False
        self._began = time.monotonic()
        self._usage: Callable[[], Usage | None] | None = None
        self._next_report = 0.0
        self._reported: Usage | None = None
        self._standard = False
        self.ended = False
        """A settle or a release is on its way, or needless."""

    @property
    def id(self) -> str:
        """The hold's id."""
        return self._command.hold_id

    @property
    def price(self) -> Price:
        """What it is settled at: a tier's price, unless the provider has said that it served none."""
        return price_served(self._command.price, standard=self._standard)

    @property
    def placed(self) -> Placed:
        """What was decided; only once it was."""
        assert self._placed is not None
        return self._placed

    @property
    def attempt(self) -> str:
        """This attempt's id, by which an outcome names its winner."""
        return self._draft.attempt

    @property
    def fingerprint(self) -> str | None:
        """The request's, where its command can come again."""
        return self._draft.fingerprint

    @property
    def public_id(self) -> str:
        """The signed id of the command that places it, for `GET /commands/{id}`."""
        shard = self._metering.commands.shard(f"account:{self._account_id}")
        return self._draft.public_id(shard, None if self._ack is None else self._ack.offset)

    async def outcome(self) -> Outcome:
        """Sends the command and waits for its outcome, whoever's attempt has won.

        503 `hold_undecided` when there is none in time; a hold that is placed later all the same is released.
        `BusUnavailable` where nothing was written.
        """
        commands = self._metering.commands
        self._metering.reserve(self._account_id, self._command.amount)
        self._reserved = True
        try:
            envelope = await self._draft.envelope(self._command)
            header = envelope.header
            self._envelope = envelope
            self._ack = ack = await commands.send(envelope)
            outcome = await commands.outcome(
                ack.shard, header.id, header.attempt, DECIDED_S, fingerprint=header.fingerprint
            )
        except BusUncertain:
            outcome = None
        except BusUnavailable:
            self._close()
            raise
        except BaseException:
            self.drop("undecided")
            raise
        if outcome is None:
            self.drop("undecided")
            raise ApiError("hold_undecided", headers={"Retry-After": "1"})
        return outcome

    def accept(self, outcome: Outcome) -> Placed:
        """The hold of an outcome that this attempt has won; raises the `ApiError` of a refusal."""
        if outcome.status != "applied" or outcome.fingerprint != self._draft.fingerprint:
            self._close()
            # What was seen before may say that credits are ample: no provider is called on its word again.
            self._metering.saw(self._account_id, 0)
            self._draft.refuse(outcome, self.public_id)
        data = data_of(outcome)
        messages = data.get("messages")
        counted = None if messages is None else convert(messages, Counted)
        if counted is not None:
            self._metering.saw_messages(self._account_id, counted)
        self._placed = Placed(
            granted=data.get("amount", self._command.amount), available=data["available"], messages=counted
        )
        self._metering.saw(self._account_id, data["available"] if data["debt"] == 0 else 0)
        return self._placed

    async def place(self) -> Placed:
        """`outcome` and `accept`, where no other attempt can win."""
        return self.accept(await self.outcome())

    def served(self, tier: Raw | None) -> None:
        """Takes note of the tier of service that the provider's answer tells, if it tells one."""
        self._standard = served_as_standard(self._command.price, tier)

    def report(self, usage: Callable[[], Usage | None]) -> None:
        """Lets `tick` report what `usage` tells after 1 s and then every 5 s; `None`: nothing was delivered yet."""
        self._usage = usage
        self._next_report = time.monotonic() + FIRST_REPORT_S

    def tick(self, now: float) -> Envelope | None:
        """The report that is due at `now` (monotonic seconds), if any."""
        if self.ended or self._usage is None or now < self._next_report:
            return None
        usage = self._usage()
        if usage is None or usage == self._reported:
            return None
        self._next_report = now + REPORT_EVERY_S
        self._reported = usage
        return self._follow(ReportProgress(hold_id=self.id, usage=usage))

    def reckoned(self, usage: Usage) -> Settlement:
        """What settling comes to as far as one can tell without having settled."""
        total = cost(usage, self.price)
        remaining = max(self.placed.available + self.placed.granted - total, 0)
        return Settlement(cost=total, remaining=remaining, settled=False)

    async def settle(self, usage: Usage, *, request_id: str) -> Settlement | None:
        """Charges the usage; `None` when no acknowledgement came: the caller decides what becomes of it.

        Cancelled in between, the settle is delivered in the background.
        """
        envelope = self._settling(usage, request_id)
        self._close()
        try:
            ack = await self._metering.send(envelope)
            if ack is None:
                return None
            outcome = await self._soon(ack, envelope)
        except BaseException:
            self._metering.deliver(envelope)
            raise
        if outcome is None:
            return self.reckoned(usage)
        if outcome.status != "applied":
            logs.get().error("settle_refused", hold_id=self.id, status=outcome.status)
            return self.reckoned(usage)
        data = data_of(outcome)
        self._metering.saw(self._account_id, data["available"] if data["debt"] == 0 else 0)
        return Settlement(
            cost=data["cost"] if "cost" in data else cost(usage, self.price), remaining=data["available"], settled=True
        )

    def settle_later(self, usage: Usage, *, request_id: str) -> None:
        """Charges the usage, or what `settle` was called with, in the background, until it is acknowledged."""
        envelope = self._settling(usage, request_id)
        self._close()
        self._metering.deliver(envelope)

    def forgo(self) -> None:
        """Another attempt has won: this one has placed nothing."""
        self._close()

    async def release(self, reason: str) -> None:
        """Gives everything back, and waits a moment for it, so that the next read agrees."""
        if self.ended:
            return
        envelope = self._follow(ReleaseHold(hold_id=self.id, reason=_plain(reason)))
        self._close()
        try:
            ack = await self._metering.send(envelope)
            if ack is None:
                self._metering.deliver(envelope)
            else:
                await self._soon(ack, envelope)
        except BaseException:
            self._metering.deliver(envelope)
            raise

    def drop(self, reason: str) -> None:
        """Gives everything back in the background, also what was settled already: the answer is withheld."""
        self._close()
        if self._envelope is None:
            return
        release = self._follow(ReleaseHold(hold_id=self.id, reason=_plain(reason)))
        deadline = self._envelope.header.deadline
        if self._ack is None and deadline is not None:
            self._metering.undecided.undo(release, deadline)
        else:
            self._metering.deliver(release)

    async def _soon(self, ack: Ack, envelope: Envelope) -> Outcome | None:
        """The outcome of an acknowledged command, if it is there in a moment."""
        header = envelope.header
        return await self._metering.commands.outcome(ack.shard, header.id, header.attempt, OUTCOME_S)

    def _settling(self, usage: Usage, request_id: str) -> Envelope:
        if self._settlement is not None:
            return self._settlement
        latency_ms = int((time.monotonic() - self._began) * 1_000)
        settle = SettleHold(
            hold_id=self.id, usage=usage, latency_ms=latency_ms, request_id=request_id, standard=self._standard
        )
        self._settlement = self._follow(settle)
        return self._settlement

    def _follow(self, command: Command) -> Envelope:
        """A later command on the hold: same actor and stream, no deadline, and an id of its own."""
        assert self._envelope is not None
        return follow_up(self._envelope, command, self._metering.clock())

    def _close(self) -> None:
        self.ended = True
        self._usage = None
        if self._reserved:
            self._reserved = False
            self._metering.reserve(self._account_id, -self._command.amount)


def _plain(reason: str) -> str:
    """A provider's own code may be anything, even a piece of the prompt: only what looks like one is written down."""
    return reason if _CODE.fullmatch(reason) else "upstream_error"
