"""What GET /commands/{id} shows of a command that was applied, and to whom."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from api.account_plan import terms_of
from api.plans import load_plans
from api.routes.commands import result_shown
from domain.account.account import AGGREGATE as ACCOUNT
from domain.account.api_key_limits import CreditLimit
from domain.account.api_key_use import UseApiKey
from domain.account.api_keys import CreateApiKey, RevokeApiKey, RotateApiKey, UpdateApiKey
from domain.account.billing_customers import LinkBillingCustomer
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold, Sweep
from domain.account.payments import ConfirmPayment, DisputePayment, RefundPayment
from domain.account.preferences import SetPreferences
from domain.account.quota_windows import Asked
from domain.account.quotas import TrackFeature
from domain.account.standing import ResumeAccount, SuspendAccount
from domain.account.subscription import ConfirmSubscription
from domain.account.subscription_change import ChangeSubscription
from domain.account.usage import Price, Usage
from domain.aggregate import Aggregate, Answer
from domain.erasure import BeginErasure, EraseUser, FinishErasure, KeepUser
from domain.instant import HOUR, MINUTE
from domain.invitation import AcceptInvitation, ForgetInvited, InviteMember, RevokeInvitation, SweepOrganization
from domain.mailed_tokens import MailedToken, MailToken, ResetPassword, VerifyEmail
from domain.member import ChangeMemberLevel, GrantLevel, LeaveForGood, RemoveMember
from domain.message import Command
from domain.organization import AGGREGATE as ORGANIZATION
from domain.organization import CreateOrganization, RenameOrganization
from domain.project import AGGREGATE as PROJECT
from domain.project import CreateProject, UpdateProject
from domain.user import AGGREGATE as USER
from domain.user import (
    ChangePassword,
    GrantRole,
    LinkIdentity,
    RegisterUser,
    RehashPassword,
    UpdateProfile,
)
from eventstore.shards import shard_of
from tests.api.company import founder
from tests.api.running import SHARDS, Running
from tests.api.running import Answer as HttpAnswer

ASYNC = {"Prefer": "respond-async"}
COUNTS = frozenset({"ver", "seats"})
USED = Usage(source="provider", input=3, output=4)
PLACE = PlaceHold(
    hold_id="h1",
    amount=9,
    amount_min=1,
    model="m",
    price=Price(input=1_000_000, cached_input=0, output=1_000_000, version="v"),
    expires_at=2 * MINUTE,
    key_id="key_1",
)
CREATE = CreateApiKey(
    key_id="key_1",
    name="n",
    scopes=("read",),
    mode="live",
    digest="d",
    hint="h",
    created_by="user_1",
    keys_max=None,
    secret_sealed="s",
)
REGISTER = RegisterUser(
    user_id="user_1", email_hash="h", email_sealed="s", display_name_sealed="n", password_sealed="p"
)
INVITE = InviteMember(
    by="ada",
    invitation_id="inv_1",
    email_hash="h",
    email_sealed="s",
    level="read",
    lasts=HOUR,
    members_max=None,
)
ASKED = Asked(limit=5, starts_at=0, ends_at=HOUR, next_ends_at=2 * HOUR)
HISTORIES: tuple[tuple[Aggregate[Any], tuple[Command, ...]], ...] = (
    (
        ACCOUNT,
        (
            AddCredits(grant_id="g1", amount=1_000, source="admin", reference="r"),
            PLACE,
            ReportProgress(hold_id="h1", usage=USED),
            SettleHold(hold_id="h1", usage=Usage(source="provider", input=5_000_000)),
            AddCredits(grant_id="g2", amount=9_000_000, source="admin", reference="r2"),
            replace(PLACE, hold_id="h2"),
            ReleaseHold(hold_id="h2", reason="failed"),
            replace(PLACE, hold_id="h3"),
            Sweep(),
            SettleHold(hold_id="h3", usage=USED),
            CREATE,
            UpdateApiKey(key_id="key_1", name="m", credit_limit=CreditLimit(amount=5_000_000, period="day")),
            RotateApiKey(key_id="key_1", digest="e", hint="i", overlap_s=60, secret_sealed="s"),
            UseApiKey(key_id="key_1", minute=0, count=1, refused=0, last_at=7),
            RevokeApiKey(key_id="key_1"),
            ConfirmSubscription(
                plan="pro",
                status="active",
                terms=terms_of(load_plans()["pro"]),
                occurred_at=7,
                reference="r",
                period_start=7,
                period_end=8,
                seats=1,
            ),
            ConfirmSubscription(
                plan="pro",
                status="active",
                terms=terms_of(load_plans()["pro"]),
                occurred_at=8,
                reference="s",
                renews_by_itself=True,
            ),
            ChangeSubscription(cancel=True),
            TrackFeature(feature="searches", amount=1, reference="r", day=ASKED, month=ASKED),
            SetPreferences(time_zone="Europe/Berlin", low_balance=7),
            LinkBillingCustomer(provider="stripe", customer_id="cus_1"),
            ConfirmPayment(payment_id="pi_1", grant_id="g3", credits=1_000_000, paid_cents=100, occurred_at=7),
            DisputePayment(payment_id="pi_1", dispute_id="dp_1", status="open", amount_cents=10, occurred_at=8),
            RefundPayment(payment_id="pi_1", refunded_cents=50, occurred_at=9),
            SuspendAccount(reason_sealed="s"),
            ResumeAccount(),
        ),
    ),
    (
        USER,
        (
            REGISTER,
            UpdateProfile(display_name_sealed="m"),
            ChangePassword(password_sealed="q", ver=1),
            RehashPassword(password_sealed="r", ver=2),
            GrantRole(role="admin"),
            MailToken(token=MailedToken(kind="password_reset", token_hash="h", expires_at=HOUR)),
            ResetPassword(token_hash="h", password_sealed="t"),
            MailToken(token=MailedToken(kind="email_verification", token_hash="i", expires_at=HOUR)),
            VerifyEmail(token_hash="h"),
            BeginErasure(user_id="user_1", erasure_id="e"),
            KeepUser(erasure_id="e"),
            BeginErasure(user_id="user_1", erasure_id="f"),
            EraseUser(),
            FinishErasure(erasure_id="f"),
        ),
    ),
    (
        USER,
        (LinkIdentity(issuer_hash="i", identity_sealed="s", role="developer", said_at=7),),
    ),
    (
        ORGANIZATION,
        (
            CreateOrganization(org_id="org_1", name_sealed="n", created_by="ada"),
            RenameOrganization(by="ada", name_sealed="m"),
            INVITE,
            AcceptInvitation(invitation_id="inv_1", user_id="bob", members_max=None),
            replace(INVITE, invitation_id="inv_2"),
            RevokeInvitation(by="ada", invitation_id="inv_2"),
            replace(INVITE, invitation_id="inv_3"),
            ForgetInvited(email_hash="h"),
            SweepOrganization(),
            ChangeMemberLevel(by="ada", user_id="bob", level="admin"),
            RemoveMember(by="bob", user_id="ada"),
            LeaveForGood(user_id="bob"),
            GrantLevel(user_id="cyd", level="admin"),
        ),
    ),
    (
        PROJECT,
        (
            CreateProject(
                project_id="project_1", account_id="ada", name_sealed="n", settings_sealed="s", created_by="ada"
            ),
            UpdateProject(account_id="ada", status="archived"),
        ),
    ),
)
"""Every command of the domain, those of holds in each way that a hold can end."""


def answers(aggregate: Aggregate[Any], commands: tuple[Command, ...]) -> Iterator[tuple[Command, Answer]]:
    """The domain's answer to each command, in order."""
    state = aggregate.initial()
    at = MINUTE
    for command in commands:
        at = 3 * MINUTE if isinstance(command, Sweep) else at
        state = aggregate.fold(aggregate.due(state, at), state)
        events = aggregate.decide(state, command, at)
        state = aggregate.fold(events, state)
        yield command, msgspec.json.decode(msgspec.json.encode(aggregate.answer(state, command, events)))


@pytest.mark.parametrize("aggregate", [ACCOUNT, USER, ORGANIZATION, PROJECT], ids=lambda each: each.category)
def test_every_command_is_in_a_history(aggregate: Aggregate[Any]) -> None:
    """A new command comes with its answer."""
    commands = {type(command) for each, history in HISTORIES if each is aggregate for command in history}
    assert commands == set(aggregate.commands)


@pytest.mark.parametrize(("aggregate", "commands"), HISTORIES)
def test_results_are_in_public_units(aggregate: Aggregate[Any], commands: tuple[Command, ...]) -> None:
    """No answer of the domain shows micro-credits, microseconds or anything sealed."""
    for command, answer in answers(aggregate, commands):
        shown = result_shown(answer)
        assert {name for name, value in shown.items() if type(value) is int and name not in COUNTS} == set(), command
        assert not any("sealed" in name for name in shown), command


async def applied(app: Running, first: HttpAnswer, **credentials: str) -> dict[str, Any]:
    """The result of a command that was answered with 202, once it is applied."""
    assert first.status == 202
    async with asyncio.timeout(10):
        while True:
            answer = await app.ask("GET", first.json["status_url"], **credentials)  # type: ignore[arg-type]  # names
            assert answer.status == 200, answer
            if answer.json["status"] == "applied":
                result: dict[str, Any] = answer.json["result"]
                return result
            await asyncio.sleep(0.005)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_registration_tells_who_was_registered(app: Running) -> None:
    """Who registered without waiting learns the user's id."""
    body = {"email": "later@example.com", "password": "correct horse battery staple"}
    result = await applied(app, await app.ask("POST", "/auth/register", body, headers=ASYNC))
    assert result["user_id"] == (await app.ask("POST", "/auth/login", body)).json["user_id"]


@pytest.mark.asyncio(loop_scope="module")
async def test_who_makes_something_learns_its_id(app: Running) -> None:
    """Also without waiting for it."""
    ada = await founder(app)
    for path, name in (("/orgs", "org_id"), ("/v1/projects", "project_id")):
        result = await applied(
            app, await app.ask("POST", path, {"name": "n"}, token=ada.token, headers=ASYNC), token=ada.token
        )
        assert (await app.ask("GET", f"{path}/{result[name]}", token=ada.token)).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_service_key_asks_for_what_it_sent(app: Running) -> None:
    """The scope that sent a command is enough to ask for it, whomever it acts on; whom it acts on may not ask."""
    admin, person = await app.admin(), await app.register()
    key: str = (await app.key(admin, scopes=["billing:write"]))["key"]
    body = {"account_id": person.id, "amount": "2", "reference": "r", "expires_at": "2090-01-01T00:00:00Z"}
    first = await app.ask("POST", "/billing/credits/add", body, api_key=key, headers=ASYNC)
    result = await applied(app, first, api_key=key)
    assert (result["amount"], result["repaid"], result["debt"]) == ("2.000000", "0.000000", "0.000000")
    refused = await app.ask("GET", first.json["status_url"], token=person.token)
    assert (refused.status, refused.code) == (404, "command_not_found")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_clients_trace_is_on_record(app: Running) -> None:
    """The W3C `traceparent` of a request is in the metadata of its events; a broken one is replaced by a new one."""
    person = await app.register()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for name, sent in (("Ada", trace), ("Eva", "nonsense")):
        headers = {"traceparent": sent}
        answer = await app.ask("PATCH", "/users/me", {"display_name": name}, token=person.token, headers=headers)
        assert answer.status == 200
    stream = f"user:{person.id}"
    stored = await app.store.stream(shard_of(stream, SHARDS), stream)
    assert stored is not None
    traces = [msgspec.json.decode(event.metadata)["trace"] for event in stored.events[-2:]]
    assert traces[0] == trace
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", traces[1])
