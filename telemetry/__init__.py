"""Logs, metrics, traces and settings: the same in every process; imports none of the other packages."""
