"""Letters to people, handed to the operator's mailer as signed webhooks.

mailer.py         signs and delivers; mail_pace.py bounds how many an address gets
mailed_tokens.py  single-use tokens of password reset and email verification
invitation_*.py   what an invitation's letter carries
"""
