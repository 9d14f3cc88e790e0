"""`python -m worker autumn-check`: what Autumn thinks an account may use, and what it has not been told yet."""

from eventstore.outbox import Delivery
from worker.operating import NotDone, operators_store
from worker.outgoing.autumn import NAME, autumn_client
from worker.settings import WorkerSettings
from worker.words import Commands, add_command

LOOKED_MAX = 10_000
"""Deliveries that are looked through for the account's."""


def add_parser(commands: Commands) -> None:
    """The words of `autumn-check`."""
    checking = add_command(commands, "autumn-check", "ask Autumn what an account may use; nothing depends on it")
    checking.add_argument("account", help="user_… or org_…")
    checking.add_argument("--feature", metavar="ID", help="another feature than FORMSTATE_AUTUMN_FEATURE")
    checking.set_defaults(act=autumn_check)


async def autumn_check(settings: WorkerSettings, *, account: str, feature: str | None) -> str:
    """Autumn's answer, and what waits here. `NotDone` where Autumn gives none: silence is never taken for a yes."""
    from autumn_sdk.errors import AutumnError
    from httpx import HTTPError

    outgoing = settings.outgoing
    if outgoing.billing_provider != NAME:
        raise NotDone("FORMSTATE_BILLING_PROVIDER is not autumn")
    feature_id = feature or outgoing.autumn_feature
    async with operators_store(settings) as store:
        waiting = _own(await store.deliveries("waiting", LOOKED_MAX), account)
        dead = _own(await store.deliveries("dead", LOOKED_MAX), account)
    async with autumn_client(outgoing.autumn_api_url, outgoing.autumn_secret_key) as client:
        try:
            said = await client.check_async(customer_id=account, feature_id=feature_id)
        except AutumnError as error:
            raise NotDone(f"Autumn answers {error.status_code}") from error
        except (HTTPError, OSError) as error:
            raise NotDone(f"Autumn does not answer: {type(error).__name__}") from error
    balance = said.balance
    has = f"used {balance.usage:.0f}, left {balance.remaining:.0f}" if balance else "no balance"
    return (
        f"{account} {feature_id} at Autumn: {'allowed' if said.allowed else 'not allowed'}, {has}\n"
        f"not told yet: {waiting} on their way, {dead} given up (python -m worker deliveries list)"
    )


def _own(deliveries: list[Delivery], account: str) -> int:
    return sum(1 for each in deliveries if (each.target, each.account) == (NAME, account))
