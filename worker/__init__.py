"""The queue reader: takes commands from the log, lets the domain decide, commits what follows in one transaction."""
