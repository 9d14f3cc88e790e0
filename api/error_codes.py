"""Codes that any route can answer, and those of commands. Codes of one noun are declared in its route file."""

from api.errors import declare

AGAIN = "Try again after the seconds in Retry-After; with an Idempotency-Key the repeat has one effect."

declare("invalid_json", "invalid", "The body is not valid JSON.", "Send UTF-8 JSON; the message names the place.")
declare(
    "invalid_request",
    "invalid",
    "A field of the body is missing, unknown or of the wrong type.",
    "`param` names the field; compare with /openapi.json.",
)
declare(
    "invalid_parameter",
    "invalid",
    "A parameter of the query or the path is wrong.",
    "`param` names the parameter; compare with /openapi.json.",
)
declare(
    "invalid_header",
    "invalid",
    "A header has a value that cannot be used, or is given twice.",
    "`param` names the header: mend its value, or leave it out.",
)
declare("invalid_http", "invalid", "The request is not valid HTTP/1.1.", "Use an HTTP library.")
declare(
    "invalid_cursor",
    "invalid",
    "The cursor is not one of this list.",
    "Pass `next_cursor` of the same list unchanged, or leave `cursor` out to start again.",
)
declare(
    "invalid_amount",
    "invalid",
    "The amount is not a decimal string of credits.",
    'Send a string with at most six places, such as "12.500000".',
)
declare("invalid_expiry", "invalid", "The time of expiry is wrong.", "Send an RFC 3339 time in the future.")
declare(
    "missing_credentials",
    "unauthenticated",
    "This route needs credentials.",
    "Send `Authorization: Bearer <key or token>` or `X-API-Key: <key>`.",
)
declare(
    "missing_scope",
    "forbidden",
    "The credentials lack a scope that this route needs.",
    "`required_scope` names it; use a key that has it.",
)
declare(
    "missing_role",
    "forbidden",
    "The caller lacks the role that this route needs.",
    "`required_role` names it; ask an operator (`python -m worker grant-role`).",
)
declare(
    "account_suspended",
    "forbidden",
    "The account is suspended.",
    "Ask the operator why. GET /users/me, its export and the subscription stay open; what was running is settled.",
)
declare(
    "missing_level",
    "forbidden",
    "The caller lacks the level that this needs in the organization.",
    "`required_level` names it; an admin of the organization can give it.",
)
declare(
    "not_found",
    "not_found",
    "There is nothing at this address; /docs lists what there is.",
    "Compare the path with /openapi.json. An SDK's `base_url` ends in /v1.",
)
declare(
    "method_not_allowed",
    "method_not_allowed",
    "This address has no such method.",
    "The header Allow names those it has.",
)
declare(
    "body_timeout",
    "too_slow",
    "The body did not arrive in time.",
    "Send the body at once, with the right Content-Length.",
)
declare("headers_timeout", "too_slow", "The head of the request did not arrive in time.", "Send the request at once.")
declare(
    "body_too_large",
    "too_large",
    "The body is too large.",
    "Send less at once: `limit_bytes` is the most that this route takes.",
)
declare(
    "command_too_large",
    "too_large",
    "What the request asks for does not fit into one command.",
    "Send less in one request; `limit_bytes` is the largest command.",
)
declare(
    "headers_too_large",
    "headers_too_large",
    "The request's headers are too large.",
    "Send fewer or shorter headers; all together must stay under 32 kB.",
)
declare(
    "unsupported_media_type",
    "unsupported_media",
    "The body must be application/json.",
    "Send `Content-Type: application/json`.",
)
declare(
    "idempotency_key_reused",
    "reused",
    "The Idempotency-Key was used for another request before.",
    "Use a new key for every new request, and the same key only to repeat one.",
)
declare(
    "insufficient_credits",
    "payment_required",
    "There are not enough credits for this request.",
    "Ask for less, or add credits: `missing` tells how many, `checkout` is the call, or null: then ask the operator.",
)
declare(
    "debt_outstanding",
    "payment_required",
    "The account owes credits.",
    "Add credits: `debt` is repaid first, `missing` has what the request needs besides. `checkout` is the call that"
    " buys them, or null: then ask the operator.",
)
declare(
    "too_many_holds",
    "conflict",
    "The account has too many open holds.",
    "Wait until requests under way have ended; GET /billing/holds lists the holds.",
)
declare("hold_closed", "conflict", "The hold was closed before.", "Nothing to do: a hold is charged once.")
declare(
    "hold_not_found",
    "not_found",
    "There is no such hold.",
    "List the holds with GET /billing/holds; one that was closed long ago is not kept.",
)
declare("grant_exists", "conflict", "The grant exists already.", "Nothing to do: it was granted before.")
declare(
    "user_erased",
    "unauthenticated",
    "The user of this identity was erased.",
    "Erasure is for good. Ask the identity provider for another subject to begin anew.",
)
declare(
    "role_from_provider",
    "conflict",
    "The role of this user comes from its identity provider.",
    "Change the role there, or `max_role` of the issuer; the user's next token brings it.",
)
declare("user_exists", "conflict", "The user is registered already.", "Log in with POST /auth/login.")
declare("invalid_price", "invalid", "The price of the model cannot be used.", "Report the request id to the operator.")
declare("invalid_usage", "invalid", "The reported usage cannot be used.", "Report the request id to the operator.")
declare("internal_error", "internal", "Something broke on our side.", "Report the request id; repeating may help.")
declare(
    "starting",
    "unavailable",
    "The server is starting, or waits for its database or its log.",
    "Look at /ready; try again in a second.",
)
declare("overloaded", "unavailable", "Too many requests wait for their outcome.", AGAIN)
declare("bus_unavailable", "unavailable", "The command log cannot be reached; nothing was written.", AGAIN)
declare("store_unavailable", "unavailable", "The database cannot be reached.", AGAIN)
declare(
    "outcome_unknown",
    "unavailable",
    "It is not known whether the command was written.",
    "Ask `status_url`, or repeat with the same Idempotency-Key: it has one effect.",
)
declare(
    "deadline_passed",
    "deadline_passed",
    "The command was reached too late and has had no effect.",
    "Repeat the request; with the same Idempotency-Key it is decided anew.",
)
declare(
    "command_failed",
    "unavailable",
    "The command could not be applied because of a fault on our side; repair is pending.",
    "Ask `status_url` later, or repeat with the same Idempotency-Key.",
)
declare(
    "command_quarantined",
    "unavailable",
    "The account is being repaired; the command is kept and applied, in order, after that.",
    "Ask `status_url` later, or repeat with the same Idempotency-Key.",
)
declare(
    "command_not_found", "not_found", "There is no such command.", "Use the id of a 202 answer of your own, unchanged."
)
