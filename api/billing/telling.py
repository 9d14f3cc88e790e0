"""Brings to the log what a provider tells. Each command has the same id however often it is told, so it counts once."""

from collections.abc import Callable, Sequence

import structlog

from api.billing.provider import Told
from api.command_log.bus import BusUncertain
from api.command_log.commands import Commands
from api.errors import ApiError, refusal
from api.ids import random_hex
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from eventstore.records import Outcome

WAIT_S = 5.0
"""How long the outcome is waited for; Stripe itself hangs up after ten seconds or more."""


_log = structlog.get_logger()


class Teller:
    """Safe to use from any request at once."""

    def __init__(self, commands: Commands, clock: Callable[[], Instant]) -> None:
        self._commands = commands
        self._clock = clock

    async def tell(self, told: Sequence[Told], actor: Actor) -> Sequence[Outcome | None]:
        """Returns when the log has all of them, in their order, with the outcomes that were there in time.

        503 `outcome_unknown` where the log does not say whether it has them: whoever told it tells it again. The
        refusal of the domain, which is logged, since it was money that was refused.
        """
        self._commands.poller.admit()
        sent = []
        for each in told:
            envelope = self._envelope(each, actor)
            try:
                ack = await self._commands.send(envelope)
            except BusUncertain as error:
                raise ApiError("outcome_unknown", headers={"Retry-After": "1"}) from error
            sent.append((ack.shard, envelope.header))
        outcomes = [await self._commands.outcome(shard, header.id, header.attempt, WAIT_S) for shard, header in sent]
        for each, outcome in zip(told, outcomes, strict=True):
            self._check(each, outcome)
        return outcomes

    def _envelope(self, told: Told, actor: Actor) -> Envelope:
        header = Header(
            id=told.command_id,
            attempt=random_hex(),
            stream=f"account:{told.account_id}",
            account=told.account_id,
            actor=actor,
            issued_at=self._clock(),
        )
        return Envelope(header=header, body=told.command)

    def _check(self, told: Told, outcome: Outcome | None) -> None:
        if outcome is None or outcome.status == "applied":
            return
        kind = type(told.command).__struct_config__.tag
        _log.error("payment_news_refused", account_id=told.account_id, command=kind, status=outcome.status)
        if outcome.status == "rejected":
            raise refusal(outcome.data)
