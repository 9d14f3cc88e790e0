"""Logs, metrics and traces: the same in every process; imports none of the other packages."""
