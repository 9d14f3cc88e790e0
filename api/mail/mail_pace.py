"""How often somebody may have mails sent to one address: nobody's mailbox is flooded through us."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic

from api.errors import ApiError, declare

MAILS_MAX = 3
WINDOW_S = 600.0
REMEMBERED_MAX = 10_000

declare(
    "mail_too_soon",
    "too_many",
    "Mails were sent to this address a moment ago.",
    "Wait for the seconds in Retry-After; the earlier mails are good as well.",
)


class MailPace:
    """At most three mails in ten minutes for each key, in this process; the least recently used key goes first."""

    def __init__(self, clock: Callable[[], float] = monotonic, remembered_max: int = REMEMBERED_MAX) -> None:
        self._clock = clock
        self._remembered_max = remembered_max
        self._sent: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, key: str) -> None:
        """Counts a mail. 429 `mail_too_soon` with `Retry-After` for one too many, which does not count."""
        now = self._clock()
        sent = self._sent.setdefault(key, deque(maxlen=MAILS_MAX))
        self._sent.move_to_end(key)
        if len(self._sent) > self._remembered_max:
            self._sent.popitem(last=False)
        if len(sent) == MAILS_MAX and sent[0] + WINDOW_S > now:
            wait_s = max(1, math.ceil(sent[0] + WINDOW_S - now))
            raise ApiError("mail_too_soon", headers={"Retry-After": str(wait_s)})
        sent.append(now)

    def admits(self, key: str) -> bool:
        """The same for a mail that may be left out."""
        try:
            self.admit(key)
        except ApiError:
            return False
        return True
