"""What the documents say is tried: examples run, tables are held against the code."""
