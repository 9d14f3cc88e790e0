"""What an erasure in the log means for the keys outside it, for a store that was restored from before it."""

CLOSING = ("org.invitation_accepted", "org.invitation_revoked", "org.invitation_expired", "org.invited_forgotten")
"""The tags of the events that take the key of an invited address along (domain/invitation.py)."""
INVITATION = "invitation:"
"""What the subjects of such keys begin with; the organization's and the invitation's id follow."""

ERASING = "user.erased"
"""The tag of the event that erases; `schema/0002_erasure.sql` has an index on it."""


def subjects_of(stream: str) -> tuple[str, str]:
    """Whose data keys the erasure of this `user:{id}` takes: the user's, and the user's own account's."""
    return stream, f"account:{stream.partition(':')[2]}"
