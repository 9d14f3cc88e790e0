"""Made-up histories of an account: what the aggregate says in the end, and all that it recorded on the way."""

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

from domain.account.account import Account
from domain.account.api_key_limits import RateLimit
from domain.account.api_key_use import UseApiKey
from domain.account.api_keys import RevokeApiKey, RotateApiKey, UpdateApiKey
from domain.account.holds import SettleHold
from domain.account.subscription_change import ChangeSubscription
from domain.account.usage import Usage
from domain.envelope import Actor
from domain.errors import DomainError
from domain.instant import DAY, HOUR, MINUTE, SECOND
from domain.message import Command
from domain.recorded import Metadata, Recorded
from projections.projection import AnyProjection
from tests.domain.account.asking import account, add, create_key, place, progress, release
from tests.domain.account.subscribing import news, terms
from tests.domain.account.test_payments import confirm, dispute, refund
from tests.domain.scenario import Scenario

ACCOUNT = "user_1"
METADATA = Metadata(command_id="c", account=ACCOUNT, actor=Actor(kind="user", id=ACCOUNT))
STEPS = (0, SECOND, MINUTE, 20 * MINUTE, 7 * HOUR, 2 * DAY)


def history(seed: int, length: int = 60) -> tuple[Scenario[Account], list[Recorded]]:
    """The account after `length` commands and waits, and its events with their places."""
    random = Random(seed)
    scenario = account()
    recorded: list[Recorded] = []
    for number in range(length):
        at = scenario.at + random.choice(STEPS) * (random.random() < 0.4)
        with suppress(DomainError):  # what was due happened all the same
            scenario.when(some_command(random, number, at), at=at)
        recorded += _recorded(scenario, len(recorded))
    return scenario, recorded


def some_command(random: Random, number: int, at: int) -> Command:
    """The next of many, about things that some of the last dozen have made."""

    def some(kind: str) -> str:
        return f"{kind}_{random.randrange(max(0, number - 12), number + 1)}"

    usage = Usage(
        source=random.choice(("provider", "estimated")),
        input=random.randrange(9),
        cached=random.randrange(4),
        output=random.randrange(9),
        reasoning=random.randrange(3),
    )
    expires_at = at + random.choice((MINUTE, HOUR, 3 * DAY)) if random.random() < 0.5 else None
    makers: tuple[Any, ...] = (
        lambda: add(f"g_{number}", random.randrange(1, 60), priority=random.randrange(3), expires_at=expires_at),
        lambda: place(f"hold_{number}", 30, amount_min=0, expires_at=at + random.choice((SECOND, MINUTE, HOUR))),
        lambda: place(f"hold_{number}", 8, amount_min=1, expires_at=at + random.choice((SECOND, MINUTE, HOUR))),
        lambda: confirm(some("pi"), random.randrange(1, 60), 100),
        lambda: refund(random.randrange(101), number, some("pi")),
        lambda: dispute(
            random.choice(("open", "won", "lost")), number, cents=random.randrange(101), payment=some("pi")
        ),
        lambda: progress(some("hold"), random.randrange(20)),
        lambda: SettleHold(hold_id=some("hold"), usage=usage, latency_ms=random.randrange(900)),
        lambda: SettleHold(hold_id=some("hold"), usage=usage, latency_ms=random.randrange(900)),
        lambda: release(some("hold")),
        lambda: create_key(f"key_{number}", keys_max=None),
        lambda: UpdateApiKey(key_id=some("key"), name=f"n{number}"),
        lambda: UpdateApiKey(
            key_id=some("key"), rate_limit=RateLimit(requests_per_day=number + 1), expires_at=expires_at
        ),
        lambda: RotateApiKey(
            key_id=some("key"), digest=f"d{number}", hint=f"h{number}", overlap_s=number % 2, secret_sealed="s"
        ),
        lambda: UseApiKey(
            key_id=some("key"), minute=at // MINUTE * MINUTE, count=number % 7, refused=number % 3, last_at=at
        ),
        lambda: RevokeApiKey(key_id=some("key")),
        lambda: news(f"n_{number}", at, status=random.choice(("active", "active", "past_due")), terms=terms(30)),
        lambda: ChangeSubscription(cancel=random.random() < 0.5, at_period_end=random.random() < 0.7),
    )
    maker = random.choice(makers)
    command: Command = maker()
    return command


def _recorded(scenario: Scenario[Account], known: int) -> Iterator[Recorded]:
    for version, event in enumerate(scenario.events[known:], start=known + 1):
        yield Recorded(
            stream=f"account:{ACCOUNT}",
            entity_id=ACCOUNT,
            version=version,
            shard=0,
            seq=version,
            at=scenario.at,
            metadata=METADATA,
            event=event,
        )


def folded(projection: AnyProjection, recorded: list[Recorded]) -> dict[str, Any]:
    """The projection's documents by key, each through its bytes at every step, as a store gives them back."""
    documents: dict[str, Any] = {}
    for each in recorded:
        if type(each.event) not in projection.events:
            continue
        key = projection.key(each)
        if key is None:
            continue
        document = projection.evolve(documents.get(key), each)
        if document is None:
            documents.pop(key, None)
        else:
            documents[key] = projection.decode(projection.encode(document))
    return documents
