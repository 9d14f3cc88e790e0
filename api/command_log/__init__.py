"""The way of a command from the API into the log, and of its outcome back.

bus.py            what the API needs of a log; kafka_bus.py is Kafka, devnet has its own in memory
commands.py       sends a command and waits for its outcome; outcomes.py is the poller that finds outcomes
command_token.py  the signed id under which a client asks for a command
lag.py            how far the workers are behind, and when that is too far for new work
"""
