"""How often somebody may have mails sent to one address: nobody's mailbox is flooded through us."""

import math

from api.errors import ApiError, declare
from api.rate_limits.exchange import RateExchanger
from api.rate_limits.rules import Rule, allowance

MAILS_MAX = 3
WINDOW_S = 600

declare(
    "mail_too_soon",
    "too_many",
    "Mails were sent to this address a moment ago.",
    "Wait for the seconds in Retry-After; the earlier mails are good as well.",
)


class MailPace:
    """At most three mails in any ten minutes for each key, counted as rate limits are: by all processes together."""

    def __init__(self, exchanger: RateExchanger) -> None:
        self._exchanger = exchanger

    async def admit(self, key: str) -> None:
        """Counts a mail. 429 `mail_too_soon` with `Retry-After` for one too many, which does not count."""
        rule = Rule(name="mails", subject=f"mails {key}", window_s=WINDOW_S, limit=MAILS_MAX)
        refused = (await self._exchanger.admit(allowance([rule]))).refused
        if refused is not None:
            raise ApiError("mail_too_soon", headers={"Retry-After": str(max(1, math.ceil(refused.frees_in_s)))})

    async def admits(self, key: str) -> bool:
        """The same for a mail that may be left out."""
        try:
            await self.admit(key)
        except ApiError:
            return False
        return True
