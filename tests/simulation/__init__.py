"""A seeded simulation of log, workers and store. `python -m tests.simulation --seed N` runs one seed again, alone."""
