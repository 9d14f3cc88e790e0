"""Features of an account's plan: listed with what is left of them, and metered."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, convert

from api.account_plan import AccountPlan
from api.call import Call, Reply
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.ids import derived
from api.plain_text import PATTERN, is_plain
from api.quotas.features import WindowShown, asked_feature, check, window_shown
from api.quotas.guard import require_feature
from api.quotas.warnings import warning, warning_headers
from api.quotas.windows import asked_day, standing
from api.route import Route, needs
from domain.account.holds import Sweep
from domain.account.quota_windows import Counted
from domain.account.quotas import TRACKED_MAX, TrackFeature
from eventstore.records import Outcome
from projections.credits import get_credits
from projections.feature_uses import get_feature_uses

declare(
    "feature_not_found",
    "not_found",
    "There is no such feature.",
    "Use an id that GET /billing/features lists.",
)
declare(
    "feature_reference_conflict",
    "conflict",
    "Another amount was tracked under this reference before.",
    "Use a new reference for each use; the same one only to repeat a request unchanged.",
)


class FeatureAccess(Struct, frozen=True, kw_only=True):
    """One feature. Of one that is not `included` there is nothing; `upgrade` names the plans that have it."""

    id: str
    title: str
    metered: bool
    included: bool
    remaining: int | None
    """What can still be used now, of day and month together; null is unlimited."""
    per_day: WindowShown | None
    """Of metered features."""
    per_month: WindowShown | None
    upgrade: list[str]


class FeatureList(Struct, frozen=True, kw_only=True):
    """All features that there are, and the day's messages."""

    object: Literal["list"] = "list"
    data: list[FeatureAccess]
    messages_per_day: WindowShown
    has_more: bool = False
    next_cursor: str | None = None


class FeatureUsed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A use of a feature. Put no personal data into `reference`."""

    feature: Annotated[str, Meta(min_length=1, max_length=50, description="An id of `GET /billing/features`.")]
    reference: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="Your id of the use; it is counted once for it.",
            extra_json_schema={"pattern": PATTERN},
        ),
    ]
    amount: Annotated[int, Meta(ge=1, le=TRACKED_MAX)] = 1


class FeatureTrackedShown(Struct, frozen=True, kw_only=True):
    """What the use has brought day and month to."""

    feature: str
    amount: int
    reference: str
    per_day: WindowShown
    per_month: WindowShown


async def list_all(call: Call[None, None]) -> FeatureList:
    """Every feature of the plan file, and how the caller's account stands with it."""
    services, account_id = call.services, call.caller.account_id
    now, enforced = services.clock(), services.settings.limits
    subscription = _subscription(call)
    uses = await get_feature_uses(services.documents, services.shards, account_id)
    credits = await get_credits(services.documents, services.shards, account_id)
    data = []
    for feature in services.plans.features.values():
        found = check(subscription, uses, feature.id, now, enforced=enforced)
        data.append(
            FeatureAccess(
                id=feature.id,
                title=feature.title,
                metered=feature.metered,
                included=found.included,
                remaining=found.remaining,
                per_day=window_shown(found.day) if feature.metered else None,
                per_month=window_shown(found.month) if feature.metered else None,
                upgrade=[] if found.included else [p.id for p in services.plans.on_offer if feature.id in p.features],
            )
        )
    limit = subscription.plan.messages_per_day if enforced else None
    messages = standing(credits.messages, asked_day(subscription, limit, now), now)
    return FeatureList(data=data, messages_per_day=window_shown(messages))


async def track(call: Call[FeatureUsed, None]) -> Reply:
    """Uses so much of a feature, once for each account, feature and reference; refused where it does not fit."""
    body, services, account_id = call.body, call.services, call.caller.account_id
    if not is_plain(body.reference):
        raise ApiError("invalid_text", param="reference")
    if body.feature not in services.plans.features:
        raise ApiError("feature_not_found", param="feature")
    draft = call.draft(
        f"account:{account_id}",
        command_id=derived("feature.track", account_id, body.feature, body.reference),
        # Of what is counted, not of the request, so that another service may repeat it.
        fingerprint=services.lookup.digest("feature.track", str(body.amount).encode()),
    )
    subscription = _subscription(call)
    if await draft.known() is None:  # a repeat was allowed when it was first sent
        require_feature(subscription, body.feature)
    if call.idempotency_key is not None:
        # The reference names the command, so the key needs one of its own; see `api.routes.credits`.
        await call.draft(f"account:{account_id}").remember(Sweep())
    day, month = asked_feature(subscription, body.feature, services.clock(), enforced=services.settings.limits)
    command = TrackFeature(feature=body.feature, amount=body.amount, reference=body.reference, day=day, month=month)
    try:
        outcome = await draft.submit(command)
    except ApiError as error:
        if error.code == "idempotency_key_reused":
            raise ApiError("feature_reference_conflict", param="reference") from None
        raise
    return _tracked(call, outcome)


def _tracked(call: Call[FeatureUsed, None], outcome: Outcome) -> Reply:
    """From the outcome alone, so that a repeat says what the first answer said."""
    data, body, now = data_of(outcome), call.body, call.services.clock()
    day, month = (convert(data[name], Counted) for name in ("day", "month"))
    shown = FeatureTrackedShown(
        feature=body.feature,
        amount=body.amount,
        reference=body.reference,
        per_day=window_shown(day),
        per_month=window_shown(month),
    )
    warnings = warning_headers(
        warning(f"{body.feature}.per_day", day, now), warning(f"{body.feature}.per_month", month, now)
    )
    return Reply(status=200, body=shown, headers=warnings)


def _subscription(call: Call[Any, Any]) -> AccountPlan:
    """Of an authenticated caller there always is one."""
    assert call.caller.subscription is not None
    return call.caller.subscription


ROUTES = (
    Route(
        method="GET",
        path="/billing/features",
        handler=list_all,
        summary="List features",
        description="Each with whether the plan has it, and what is left of it.",
        tag="billing",
        access=needs("billing:read"),
        answers={200: FeatureList},
    ),
    Route(
        method="POST",
        path="/billing/track",
        handler=track,
        summary="Meter the use of a feature",
        description=(
            "Counts `amount` of a feature in the account's day and month, once for each `reference`. What the plan does"
            " not allow any more is refused whole, and nothing is counted."
        ),
        tag="billing",
        access=needs("billing:manage"),
        body=FeatureUsed,
        answers={200: FeatureTrackedShown},
        errors=(
            "feature_not_found",
            "feature_not_in_plan",
            "feature_quota_exceeded",
            "feature_reference_conflict",
            "invalid_feature_amount",
            "invalid_text",
        ),
        write=True,
        example={"feature": "basic_models", "amount": 1, "reference": "use-1001"},
    ),
)
