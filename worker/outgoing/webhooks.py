"""Notices posted to the operator's URL, signed as Standard Webhooks says (standardwebhooks.com).

`webhook-id` is the event's own and the same in every repeat; `webhook-timestamp` that of the attempt; and
`webhook-signature` has, for each secret, `v1,` and base64 of HMAC-SHA256 of `id.timestamp.body`.
"""

import base64
import hmac
import time
import uuid
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec

from domain.instant import DAY, Instant
from domain.recorded import Recorded
from eventstore import codec
from eventstore.outbox import Delivery
from worker.outgoing.notices import event_tags, told
from worker.outgoing.target import ATTEMPT_S, Attempt
from worker.rfc3339 import format_instant

NAME = "webhook"
NOTICE_NAMESPACE = uuid.UUID("b2a5f8ce-6d0b-5c1e-8a57-1d1d4cf1f0d1")
READ_S = 1.0
ANSWER_BYTES_MAX = 64 * 1024
"""What is read of an answer; of one that is longer only the status counts."""
KEPT: Instant = DAY
"""How long a notice is tried."""


class Webhooks:
    """The operator's URL as a target."""

    name = NAME
    read_every_s = READ_S

    def __init__(self, url: str, secrets: Mapping[str, bytes], http: aiohttp.ClientSession) -> None:
        self._url = url
        self._secrets = tuple(secrets.values())
        self._http = http
        self.event_tags: Sequence[str] = event_tags()

    def deliveries(self, shard: int, events: Sequence[Recorded], at: Instant) -> list[Delivery]:
        """See `Target`."""
        made = (notice(shard, each, at) for each in events)
        return [each for each in made if each is not None]

    def deadline(self, delivery: Delivery) -> Instant | None:
        """See `Target`: a day after it was made."""
        return delivery.created_at + KEPT

    async def send(self, delivery: Delivery) -> Attempt:
        """See `Target`. Any 2xx whose answer is whole takes it; redirects are not followed."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Form-State",
            **signed_headers(self._secrets, delivery.id, int(time.time()), delivery.body),
        }
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
        try:
            async with self._http.post(
                self._url, data=delivery.body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                await _read(answer)
                status = answer.status
        except aiohttp.ClientConnectorError as error:
            return Attempt(taken=False, problem=type(error).__name__, arrived=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Attempt(taken=False, problem=type(error).__name__)
        if 200 <= status < 300:  # noqa: PLR2004  # the range of successes
            return Attempt(taken=True)
        return Attempt(taken=False, problem=f"status {status}")


async def _read(answer: aiohttp.ClientResponse) -> None:
    """To the answer's end, so that one that breaks off is none; or as far as anybody needs."""
    size_bytes = 0
    async for chunk in answer.content.iter_any():
        size_bytes += len(chunk)
        if size_bytes > ANSWER_BYTES_MAX:
            answer.close()
            return


def notice(shard: int, recorded: Recorded, at: Instant) -> Delivery | None:
    """The delivery that tells of an event of an account; `None` for one that is not told."""
    data = told(recorded.event)
    if data is None:
        return None
    kind, account = codec.tag_of(recorded.event), recorded.entity_id
    body = {"type": kind, "timestamp": format_instant(recorded.at), "data": {"account_id": account} | data}
    return Delivery(
        target=NAME,
        shard=shard,
        account=account,
        seq=recorded.seq,
        id=f"evt_{uuid.uuid5(NOTICE_NAMESPACE, f'{recorded.stream}@{recorded.version}').hex}",
        type=kind,
        body=msgspec.json.encode(body),
        created_at=at,
        due_at=at,
    )


def signed_headers(secrets: Sequence[bytes], delivery_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks 1.0.0; one signature for each secret."""
    signed = b"%b.%d.%b" % (delivery_id.encode(), at_s, body)
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }


def outbound_http() -> aiohttp.ClientSession:
    """The worker's client for webhooks: no cookies, nothing unpacked, no proxies of the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100, ttl_dns_cache=60, keepalive_timeout=30.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
