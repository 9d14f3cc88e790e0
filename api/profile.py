"""What users say about themselves: checked as it comes, never changed, and sealed under their own data key."""

import unicodedata
from typing import Annotated, TypeAlias

from msgspec import Meta

from api.errors import ApiError, declare
from api.lookup import normal_email
from api.plain_text import PATTERN, is_plain
from api.sealing import Sealer

EMAIL_BYTES_MAX = 254
"""RFC 5321, 4.5.3.1: the longest address that a mail server must take."""
LOCAL_BYTES_MAX = 64
NAME_MAX = 200
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
"""Unicode's controls, invisible formats, surrogates and separators: two addresses could look alike with them."""

EMAIL_PLACE = "user.email"
NAME_PLACE = "user.display_name"
IDENTITY_PLACE = "user.identity"
PROJECT_NAME_PLACE = "project.name"
PROJECT_SETTINGS_PLACE = "project.settings"
PASSWORD_PLACE = "user.password"  # noqa: S105 - the name of a place, not a password

# The rules live in `check_…`, with messages for people; the schema tells them to programs.
Email: TypeAlias = Annotated[
    str,
    Meta(
        description="Kept as given; unique in any case and Unicode form.",
        examples=["ada@example.com"],
        extra_json_schema={"format": "email", "minLength": 3, "maxLength": EMAIL_BYTES_MAX},
    ),
]
DisplayName: TypeAlias = Annotated[
    str,
    Meta(
        description="At most 200 characters, no control characters.",
        examples=["Ada Lovelace"],
        extra_json_schema={"minLength": 1, "maxLength": NAME_MAX, "pattern": PATTERN},
    ),
]
NewPassword: TypeAlias = Annotated[
    str,
    Meta(
        description="8 characters or more, at most 1,024 bytes in UTF-8. No rules on kinds of characters.",
        examples=["correct horse battery staple"],
        extra_json_schema={"minLength": 8, "maxLength": 1024, "format": "password"},
    ),
]

declare(
    "invalid_email",
    "invalid",
    "The email address is malformed.",
    "Send one address with one @, at most 254 bytes, without spaces or invisible characters.",
)
declare(
    "invalid_display_name",
    "invalid",
    "The display name is too long, empty, or holds control characters.",
    "Send 1 to 200 characters, or null for none.",
)


def check_email(address: str) -> None:
    """400 `invalid_email` unless it is one address, as given and in its normal form."""
    for form in (address, normal_email(address)):
        local, at, domain = form.partition("@")
        if not at or not local or not domain or "@" in domain:
            raise ApiError("invalid_email", "The email address must have one @ with text on both sides.", param="email")
        if any(unicodedata.category(char) in UNSEEN for char in form):
            raise ApiError(
                "invalid_email", "The email address must not hold spaces or invisible characters.", param="email"
            )
        if len(form.encode()) > EMAIL_BYTES_MAX or len(local.encode()) > LOCAL_BYTES_MAX:
            raise ApiError("invalid_email", "The email address is too long.", param="email")
        if domain.startswith(".") or domain.endswith(".") or ".." in domain:
            raise ApiError("invalid_email", "The domain of the email address is malformed.", param="email")


def check_display_name(name: str | None) -> None:
    """400 `invalid_display_name`; `None` is no name."""
    if name is not None and (len(name) > NAME_MAX or not is_plain(name)):
        raise ApiError("invalid_display_name", param="display_name")


def subject_of(account_id: str) -> str:
    """Under whose data key an account's texts are sealed: a person's own, so that erasing it erases them too."""
    return f"user:{account_id}" if account_id.startswith("user_") else f"account:{account_id}"


async def seal_text(sealer: Sealer, user_id: str, place: str, text: str) -> str:
    """Seals a text of the user."""
    return await sealer.seal(f"user:{user_id}", place, text.encode())


async def open_text(sealer: Sealer, user_id: str, place: str, sealed: str) -> str:
    """The text; `Erased` when the user was."""
    return (await sealer.open(f"user:{user_id}", place, sealed)).decode()
