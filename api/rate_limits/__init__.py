"""How often somebody may ask: decided in this process in microseconds, shared with all others ten times a second.

window.py    the sliding window of one subject, pure
rules.py     which limits a caller is under
limiter.py   all windows of this process: decides, remembers what to tell, takes in what others told
exchange.py  the rhythm in which that goes through the store, and what happens while the store is away
headers.py   what answers say about it
enforce.py   where the endpoint asks
minutes.py   minutes of API keys that are over, for those who put them on record
"""
