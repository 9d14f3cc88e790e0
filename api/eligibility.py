"""Whether something would be let in: the facts that read models show, put before the very code that decides.

An account is made of the facts and asked as the worker asks the real one (`domain.account.account.decide`), so there is
no second opinion. What a read model shows may be milliseconds old: the answer is about a moment, and reserves nothing.
"""

from msgspec import Struct

from api.account_plan import AccountPlan
from api.errors import ApiError, refused
from api.gateway.estimate import dearest_amount
from api.quotas.features import asked_feature
from api.quotas.windows import asked_messages
from domain.account.account import Account, decide, due, evolve
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.account.api_key_spending import KeySpending
from domain.account.api_keys import ApiKey
from domain.account.holds import PlaceHold
from domain.account.ledger import Grant, Ledger, reckon_wake
from domain.account.quota_windows import Counted, Counter
from domain.account.quotas import Metered, TrackFeature
from domain.account.usage import Price
from domain.errors import DomainError
from domain.instant import MINUTE, Instant
from domain.message import Command
from domain.money import MicroCredits
from projections.credits import CreditsView
from projections.feature_uses import FeatureUsesView

NAME = "eligibility"
"""What stands for ids in questions that nothing is made of."""


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of an account, and of the key that asks. Amounts are micro-credits."""

    subscription: AccountPlan
    credits: CreditsView
    now: Instant
    uses: FeatureUsesView | None = None
    """Only where features are asked for."""
    suspended: bool = False
    enforced: bool = True
    """Whether quotas are: an operator can switch all limits off."""
    key_id: str | None = None
    limits: KeyLimits = NO_LIMITS
    key_spent: MicroCredits = 0
    """In the period of the key's credit limit."""
    key_held: MicroCredits = 0


def model_refusal(facts: Facts, model: str, price: Price, tokens: int) -> ApiError | None:
    """Why a request of so many tokens in all would be refused, or `None`: at the dearest price that they can have."""
    amount = dearest_amount(tokens, price)
    return _refusal(
        facts,
        PlaceHold(
            hold_id=NAME,
            amount=amount,
            amount_min=amount,
            model=model,
            price=price,
            expires_at=facts.now + MINUTE,
            key_id=facts.key_id,
            messages=asked_messages(facts.subscription, facts.now, enforced=facts.enforced),
        ),
    )


def feature_refusal(facts: Facts, feature: str, amount: int) -> ApiError | None:
    """Why so much of a feature that the plan has would be refused, or `None`."""
    day, month = asked_feature(facts.subscription, feature, facts.now, enforced=facts.enforced)
    return _refusal(facts, TrackFeature(feature=feature, amount=amount, reference=NAME, day=day, month=month))


def _refusal(facts: Facts, command: Command) -> ApiError | None:
    account = _account(facts)
    try:
        while events := due(account, facts.now):  # as the worker does before each command
            for event in events:
                evolve(account, event)
        decide(account, command, facts.now)
    except DomainError as error:
        return refused(error.code, error.kind, error.message, error.detail)
    return None


def _account(facts: Facts) -> Account:
    """As far as the decisions above look at it."""
    credits = facts.credits
    account = Account(credits=_ledger(credits))
    account.quotas.messages = _counter(credits.messages)
    for feature, use in () if facts.uses is None else facts.uses.features.items():
        account.quotas.features[feature] = Metered(day=_counter(use.day), month=_counter(use.month))
    if facts.suspended:
        account.standing.suspended_at = facts.now
    if facts.key_id is not None and facts.limits.credit_limit is not None:
        account.api_keys.active[facts.key_id] = ApiKey(
            name=NAME, scopes=(), expires_at=None, digest="", limits=facts.limits
        )
        account.api_key_spending.keys[facts.key_id] = _spending(facts)
    return account


def _ledger(credits: CreditsView) -> Ledger:
    grants = {
        each.id: Grant(
            id=each.id,
            source=each.source,
            priority=each.priority,
            remaining=each.remaining,
            granted_at=each.granted_at,
            expires_at=each.expires_at,
        )
        for each in credits.grants
    }
    found = Ledger(balance=credits.balance, held=credits.held, debt=credits.debt, grants=grants)
    reckon_wake(found)
    return found


def _spending(facts: Facts) -> KeySpending:
    after = facts.now + MINUTE
    spent = facts.key_spent
    return KeySpending(held=facts.key_held, total=spent, day=spent, day_ends=after, month=spent, month_ends=after)


def _counter(counted: Counted | None) -> Counter:
    if counted is None:
        return Counter()
    return Counter(starts_at=counted.starts_at, ends_at=counted.ends_at, used=counted.used)
