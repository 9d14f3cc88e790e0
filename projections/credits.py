"""The balance of an account: what is there, what is held, from which grants, and what is owed."""

from msgspec import Struct, structs

from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.ledger import Burn
from domain.account.quota_counts import given_back
from domain.account.quota_windows import Counted
from domain.account.usage import Usage
from domain.instant import Instant
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class GrantView(Struct, frozen=True, kw_only=True, gc=False):
    """A grant with something left."""

    id: str
    source: str
    priority: int
    amount: MicroCredits
    remaining: MicroCredits
    granted_at: Instant
    expires_at: Instant | None
    reference: str | None

    def burn_order(self) -> tuple[int, bool, Instant, Instant, str]:
        """The same total order in which the ledger burns grants."""
        return (self.priority, self.expires_at is None, self.expires_at or 0, self.granted_at, self.id)


class CreditsView(Struct, frozen=True, kw_only=True, gc=False):
    """All in micro-credits; `grants` in the order in which they are burnt."""

    account_id: str
    balance: MicroCredits = 0
    held: MicroCredits = 0
    debt: MicroCredits = 0
    grants: tuple[GrantView, ...] = ()
    messages: Counted | None = None
    """Of the last day in which a message was counted; here because every hold changes this document anyway."""

    @property
    def available(self) -> MicroCredits:
        """What new requests can use."""
        return self.balance - self.held


def _evolve(view: CreditsView | None, recorded: Recorded) -> CreditsView:
    view = view or CreditsView(account_id=recorded.entity_id)
    match recorded.event:
        case HoldPlaced() as event:
            messages = event.messages or view.messages
            return structs.replace(view, held=view.held + event.amount, messages=messages)
        case HoldClosed() as event:
            return structs.replace(
                view,
                balance=event.balance,
                held=view.held - event.amount,
                debt=event.debt,
                grants=_burnt(view.grants, event.burns),
                messages=_given_back(view.messages, event.message_day, None, event.usage),
            )
        case CreditsGranted() as event:
            return structs.replace(
                view, balance=event.balance, debt=event.debt, grants=_with_grant(view.grants, _granted(event))
            )
        case GrantExpired() as event:
            burns = (Burn(grant_id=event.grant_id, amount=event.amount),)
            return structs.replace(view, balance=event.balance, grants=_burnt(view.grants, burns))
        case DebtRepaid() as event:
            return structs.replace(
                view, balance=event.balance, debt=event.debt, grants=_burnt(view.grants, event.burns)
            )
        case CreditsTakenBack() as event:
            return structs.replace(
                view, balance=event.balance, debt=event.debt, grants=_burnt(view.grants, event.burns)
            )
        case CreditsGivenBack() as event:
            return structs.replace(
                view, balance=event.balance, debt=event.debt, grants=_with_given_back(view.grants, event)
            )
        case HoldCorrected() as event:
            return structs.replace(
                view,
                balance=event.balance,
                debt=event.debt,
                grants=_with_grant(_burnt(view.grants, event.burns), _returned(event)),
                messages=_given_back(view.messages, event.message_day, event.replaced, event.usage),
            )
        case _:
            return view


def _given_back(messages: Counted | None, day: Instant | None, before: Usage | None, now: Usage) -> Counted | None:
    """As `domain.account.quota_counts` counts."""
    if messages is None or day != messages.starts_at:
        return messages
    change = given_back(before, now)
    return structs.replace(messages, used=messages.used + change) if change else messages


def _granted(event: CreditsGranted) -> GrantView:
    return GrantView(
        id=event.grant_id,
        source=event.source,
        priority=event.priority,
        amount=event.amount,
        remaining=event.amount - event.repaid,
        granted_at=event.granted_at,
        expires_at=event.expires_at,
        reference=event.reference,
    )


def _returned(event: HoldCorrected) -> GrantView:
    returned = max(-event.difference, 0) - event.repaid
    return GrantView(
        id=event.grant_id,
        source="correction",
        priority=0,
        amount=returned,
        remaining=returned,
        granted_at=event.corrected_at,
        expires_at=None,
        reference=event.hold_id,
    )


def _with_given_back(grants: tuple[GrantView, ...], event: CreditsGivenBack) -> tuple[GrantView, ...]:
    """In the payment's own grant, or that grant made again where it was used up."""
    amount = event.amount - event.repaid
    if any(grant.id == event.grant_id for grant in grants):
        return tuple(
            structs.replace(grant, remaining=grant.remaining + amount) if grant.id == event.grant_id else grant
            for grant in grants
        )
    grant = GrantView(
        id=event.grant_id,
        source=event.source,
        priority=event.priority,
        amount=amount,
        remaining=amount,
        granted_at=event.granted_at,
        expires_at=event.expires_at,
        reference=event.payment_id,
    )
    return _with_grant(grants, grant)


def _with_grant(grants: tuple[GrantView, ...], grant: GrantView) -> tuple[GrantView, ...]:
    if grant.remaining <= 0:
        return grants
    return tuple(sorted((*grants, grant), key=GrantView.burn_order))


def _burnt(grants: tuple[GrantView, ...], burns: tuple[Burn, ...]) -> tuple[GrantView, ...]:
    if not burns:
        return grants
    taken = {burn.grant_id: burn.amount for burn in burns}
    left = (
        structs.replace(grant, remaining=grant.remaining - taken[grant.id]) if grant.id in taken else grant
        for grant in grants
    )
    return tuple(grant for grant in left if grant.remaining)


PROJECTION = Projection(
    collection="credits",
    version=2,
    document=CreditsView,
    events=[
        CreditsGranted,
        GrantExpired,
        DebtRepaid,
        CreditsTakenBack,
        CreditsGivenBack,
        HoldPlaced,
        HoldClosed,
        HoldCorrected,
    ],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    listed=False,
)


async def get_credits(documents: DocumentReader, shards: int, account_id: str) -> CreditsView:
    """The account's credits; an account that was never written has none."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return CreditsView(account_id=account_id) if doc is None else PROJECTION.decode(doc)
