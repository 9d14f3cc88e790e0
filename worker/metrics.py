"""What the worker counts, for `/metrics` on `FORMSTATE_WORKER_METRICS_PORT`."""

from telemetry import metrics

commands_decided = metrics.counter("commands_decided", "Commands with an outcome, by its status.", ("status",))
events_appended = metrics.counter("events_appended", "Events written to the log.")
dead_letters = metrics.counter("dead_letters_written", "Records that could not be applied, by reason.", ("reason",))
rounds = metrics.counter("rounds", "Committed transactions.")
round_seconds = metrics.seconds("round_seconds", "From the first record of a round to its commit.")
rounds_rolled_back = metrics.counter("rounds_rolled_back", "Transactions that came to nothing, by cause.", ("cause",))
shards_owned = metrics.gauge("shards_owned", "Shards that this worker has leases for.")
shards_stopped = metrics.gauge("shards_stopped", "Owned shards that must not be applied; see the log for why.")
streams_swept = metrics.counter("streams_swept", "Streams woken because something was due.")
deliveries = metrics.counter("deliveries", "Attempts to deliver to the outside.", ("target", "result"))
outbox_unread = metrics.gauge("outbox_unread", "Events of own shards that a target's reader has not read.", ("target",))
outbox_waiting = metrics.gauge("outbox_waiting", "Deliveries that a target has not taken, of all shards.", ("target",))
outbox_dead = metrics.gauge("outbox_dead", "Deliveries that were given up, of all shards.", ("target",))
outbox_oldest_seconds = metrics.gauge("outbox_oldest_seconds", "Age of the oldest waiting delivery.", ("target",))
