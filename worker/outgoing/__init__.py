"""What leaves for the outside: read from the log, kept as deliveries, sent until somebody has taken them.

target.py      what a place outside is: what it is told of which events, and how it is reached
targets.py     those that the settings name
log_reader.py  turns the log into deliveries, once
relay.py       sends deliveries, in order per account
outgoing.py    both for all targets, beside a worker's lanes
autumn.py      what was charged, as usage for Autumn; autumn_ends.py ends the subscriptions of erased users there
notices.py     events as the operator's webhooks tell them; webhooks.py signs and posts them
"""
