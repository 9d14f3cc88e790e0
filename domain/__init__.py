"""The rules of Form-State: commands, events, state, decide, evolve. No I/O, no clock, no randomness."""
