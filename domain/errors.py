"""Every way in which a command can be refused.

DomainError                  code, public message, public detail
├── Invalid                  the command can never be right
├── Forbidden                seen, but not allowed
├── Suspended                the account may begin nothing      (curable)
├── NotFound                 not there, or not for this caller
├── Conflict                 the state has moved on, or somebody was first
├── Full                     no room for now                  (curable)
├── PaymentRequired          credits or plan are missing        (curable)
├── TooMany                  a rate or quota is used up         (curable)
└── DeadlinePassed           applied too late, client gave up   (curable)

A curable refusal frees its command id: time or money may change the answer (I2).
HTTP status numbers live in `api/errors.py` alone.
"""

from typing import ClassVar

Detail = dict[str, str | int | bool | None]


class DomainError(Exception):
    """A refusal with a stable `code`, a `message` fit for the client, and `detail` fit for the client."""

    kind: ClassVar[str]
    curable: ClassVar[bool] = False

    def __init__(self, code: str, message: str, **detail: str | int | bool | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.detail: Detail = detail


class Invalid(DomainError):
    """The command can never be right, whatever the state."""

    kind = "invalid"


class Forbidden(DomainError):
    """The caller may see the subject but not do this to it."""

    kind = "forbidden"


class Suspended(DomainError):
    """The account may begin nothing new until an admin resumes it."""

    kind = "forbidden"
    curable = True


class NotFound(DomainError):
    """The subject does not exist, or not for this caller."""

    kind = "not_found"


class Conflict(DomainError):
    """The state has moved on, or somebody else was first."""

    kind = "conflict"


class Full(DomainError):
    """There is no room now, but there may be later."""

    kind = "conflict"
    curable = True


class PaymentRequired(DomainError):
    """Credits are missing, or the plan lacks a feature."""

    kind = "payment_required"
    curable = True


class TooMany(DomainError):
    """A rate limit or a quota is used up."""

    kind = "too_many"
    curable = True


class DeadlinePassed(DomainError):
    """The command reached the worker after its client had given up."""

    kind = "deadline_passed"
    curable = True
