"""What asyncpg raises, as the store's own errors: the one place that knows SQLSTATEs (PostgreSQL, appendix A)."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from eventstore.errors import DataError, StoreError, Unavailable, Unmigrated, VersionConflict

_BY_SQLSTATE: dict[str, type[StoreError]] = {
    "22012": VersionConflict,  # division_by_zero: `statement.merged` says so that rows are not as expected
    "40001": VersionConflict,  # serialization_failure
    "40P01": VersionConflict,  # deadlock_detected
    "23505": VersionConflict,  # unique_violation: the fence gives each row one writer, so another version was written
    "42P01": Unmigrated,  # undefined_table
    "42703": Unmigrated,  # undefined_column
}
_BY_CLASS: dict[str, type[StoreError]] = {
    "08": Unavailable,  # connection_exception
    "21": DataError,  # cardinality_violation: the batch names one row twice
    "22": DataError,  # data_exception: NUL, invalid Unicode, numbers out of range, JSON that jsonb refuses
    "23": DataError,  # integrity_constraint_violation
    "25": Unavailable,  # invalid_transaction_state: a standby is read-only, a transaction idled for too long
    "28": Unavailable,  # invalid_authorization_specification
    "3D": Unavailable,  # invalid_catalog_name: no such database
    "53": Unavailable,  # insufficient_resources
    "54": DataError,  # program_limit_exceeded: a text too long for its index
    "55": Unavailable,  # object_not_in_prerequisite_state: lock_not_available
    "57": Unavailable,  # operator_intervention: shutdown, startup, our backend ended, statement_timeout
    "58": Unavailable,  # system_error
    "XX": Unavailable,  # internal_error
}


@contextmanager
def translated() -> Iterator[None]:
    """Raises the driver's errors as `StoreError`s; what is a mistake in our own SQL or calls stays as it is."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_sqlstate(error) from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):
            raise DataError("a value does not fit its column") from error
        if "another operation" in str(error):
            raise
        raise Unavailable(str(error)) from error
    except (OSError, asyncpg.InternalClientError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def _of_sqlstate(error: asyncpg.PostgresError) -> Exception:
    """Names the kind of error and the table or constraint; a value of a row never gets into the message."""
    sqlstate: str = getattr(error, "sqlstate", None) or "XX000"
    found = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
    if found is None:
        return error
    if found is Unavailable:
        return Unavailable(f"{error} ({sqlstate})")
    if found is Unmigrated:
        return Unmigrated(f"{error}: run `python -m worker migrate`")
    place = getattr(error, "constraint_name", None) or getattr(error, "table_name", None) or "?"
    return found(f"{type(error).__name__} ({sqlstate}) in {place}")
