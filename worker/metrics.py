"""What the worker counts, for `/metrics` on `FORMSTATE_WORKER_METRICS_PORT`."""

from telemetry import metrics

commands_decided = metrics.counter("commands_decided", "Commands with an outcome, by its status.", ("status",))
events_appended = metrics.counter("events_appended", "Events written to the log.")
dead_letters = metrics.counter("dead_letters_written", "Records that could not be applied, by reason.", ("reason",))
rounds = metrics.counter("rounds", "Committed transactions.")
round_seconds = metrics.histogram("round_seconds", "From the first record of a round to its commit.")
rounds_rolled_back = metrics.counter("rounds_rolled_back", "Transactions that came to nothing, by cause.", ("cause",))
shards_owned = metrics.gauge("shards_owned", "Shards that this worker has leases for.")
shards_stopped = metrics.gauge("shards_stopped", "Owned shards that must not be applied; see the log for why.")
streams_swept = metrics.counter("streams_swept", "Streams woken because something was due.")
