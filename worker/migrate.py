"""`python -m worker migrate`: makes or upgrades the tables, the read models' tables, and the topic."""

from collections.abc import Sequence

from eventstore.command_topic import check_topic, create_topic
from eventstore.postgres import migrations
from eventstore.postgres.data_keys import erase_again
from projections.document_tables import migrate_documents, unknown_collections
from projections.registry import all_projections
from projections.versions import rebuild_command
from worker.operating import NotDone
from worker.settings import WorkerSettings


async def migrate(
    settings: WorkerSettings, *, shards: int | None, activate: bool, forget: Sequence[str] | None = None
) -> str:
    """Safe to run at any time and twice at once. Answers what was done, for the operator.

    `shards` counts at the first migration only, and is fixed from then on. `forget` names read models that are kept no
    more: those of a release that was gone back from, or that this one has given up. `NotDone` for one of this release;
    the answer names those that are not stored.
    """
    if own := sorted(all_projections().keys() & set(forget or ())):
        raise NotDone(f"this release keeps {', '.join(own)}; forget what it does not know")
    connection = await migrations.connect(settings.database_url)
    try:
        migrated = await migrations.migrate(connection, shards=shards, activate=activate)
        unknown = await unknown_collections(connection, forget or ())
        outdated = await migrate_documents(connection, forget=forget or ())
        erased = await erase_again(connection)
    finally:
        await connection.close()
    made = await create_topic(settings.kafka_bootstrap_servers, settings.kafka_topic, migrated.shards)
    await check_topic(settings.kafka_bootstrap_servers, settings.kafka_topic, migrated.shards)
    again = f"; {erased} keys erased again, which a restore had brought back" if erased else ""
    nothing = f"; nothing to forget: no read model {' or '.join(unknown)} is stored" if unknown else ""
    rebuild = f"; workers and api wait until this is done: {rebuild_command(outdated)}" if outdated else ""
    return (
        f"store at level {migrated.level} with {migrated.shards} shards; "
        f"applied: {', '.join(migrated.applied) or 'nothing new'}; "
        f"topic {settings.kafka_topic}: {'made' if made else 'there already'}{again}{nothing}{rebuild}"
    )
