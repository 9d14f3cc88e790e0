"""Who a caller is: credentials checked, turned into an identity, and kept warm for as long as that is safe.

identities.py         the chain of credentials, and the identity that comes out of it
identity_cache.py     identities kept warm, dropped when their stamp moves; stamps.py hears of it
api_key_format.py     how our API keys are written and compared; api_key_authority.py what one may do
tokens.py             our own login tokens (HS256)
passwords.py          hashing in one bounded pool; login_throttle.py slows guessing down
issuers.py            the operator's identity providers; jwks.py and jwks_document.py their keys
external_tokens.py    tokens of those providers, and what becomes of their users and projects: external_*.py
acting.py             for which account the caller acts; own_organization.py the one it is bound to
"""
