"""Whether the stored read models are those of this release: made by its projections, and of all of the log.

A document is folded from the one before it. A worker that went on from documents of another version, or left a
collection out that it does not know, would spoil it unseen: so it waits until `rebuild` has made what is missing, and
one of the release before stops as soon as that is done.
"""

from collections.abc import Iterable, Mapping

from projections.documents import DocumentStore
from projections.projection import AnyProjection
from projections.registry import all_projections


def outdated(stored: Mapping[str, int], projections: Iterable[AnyProjection]) -> list[str]:
    """The collections that are not stored as these projections make them."""
    return sorted(each.collection for each in projections if stored.get(each.collection) != each.version)


def rebuild_command(collections: Iterable[str]) -> str:
    """What an operator runs to make them again."""
    return f"python -m worker rebuild {' '.join(collections)}"


async def why_unreadable(documents: DocumentStore) -> str | None:
    """Why this release's API cannot read the documents, and what to do; `None` if it can."""
    return _why_outdated(await documents.versions())


async def why_unwritable(documents: DocumentStore) -> str | None:
    """The same for a worker, which has to keep everything that is stored."""
    stored = await documents.versions()
    newer = sorted(stored.keys() - all_projections().keys())
    if newer:
        forget = " ".join(f"--forget {name}" for name in newer)
        return (
            f"another release has taken over: this one does not know the read models {', '.join(newer)}. Stop this "
            f"process; to go on with this release, run `python -m worker migrate {forget}`"
        )
    return _why_outdated(stored)


def _why_outdated(stored: Mapping[str, int]) -> str | None:
    own = all_projections()
    names = outdated(stored, own.values())
    newer = [name for name in names if stored.get(name, 0) > own[name].version]
    if newer:
        return (
            f"a newer release has taken over: the read models {', '.join(newer)} are its own. Stop this process, "
            f"or to go back to this release run `{rebuild_command(names)}` of it"
        )
    if names:
        return f"the read models {', '.join(names)} are not of this release: run `{rebuild_command(names)}`"
    return None
