"""The HTTP process: who may do what, what becomes a command, and what is answered."""
