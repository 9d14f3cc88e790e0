"""What devnet and stack print once they are up: for a person, or as one JSON object on the first line."""

import sys
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from devnet.issuer.example_tokens import Issued
from devnet.seed import Seeded


class Printout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON object; its members are a promise.

    `tokens`, by subject, is there when `--jwt` or `--issuer` asked for some; `issuer_url` with `--issuer`, `stripe_url`
    with `--stripe`.
    """

    mode: str
    urls: Sequence[str]
    account_id: str
    user_token: str
    admin_token: str
    api_key: str
    models: Sequence[str]
    pids: Mapping[str, int]
    tokens: Mapping[str, str] = {}
    issuer_url: str = ""
    stripe_url: str = ""


def show(
    *,
    mode: str,
    urls: Sequence[str],
    models: Sequence[str],
    pids: Mapping[str, int],
    seeded: Seeded,
    issued: Issued | None,
    as_json: bool,
    stripe_url: str = "",
) -> None:
    """Writes to standard output and flushes."""
    printout = Printout(
        mode=mode,
        urls=urls,
        account_id=seeded.account_id,
        user_token=seeded.user_token,
        admin_token=seeded.admin_token,
        api_key=seeded.api_key,
        models=models,
        pids=pids,
        tokens={**seeded.tokens, **(issued.tokens if issued else {})},
        issuer_url=issued.url if issued else "",
        stripe_url=stripe_url,
    )
    text = msgspec.json.encode(printout).decode() if as_json else _for_people(printout, seeded, issued)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _for_people(printout: Printout, seeded: Seeded, issued: Issued | None) -> str:
    url = printout.urls[0]
    body = f'{{"model": "{printout.models[0]}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'
    asked = "".join(f"\n  {subject}@example.com\n          token {token}" for subject, token in seeded.tokens.items())
    if issued is not None:
        asked += f"\n  issuer  {issued.url}   (POST /token, POST /rotate)"
        asked += "".join(f"\n  {subject}\n          token {token}" for subject, token in issued.tokens.items())
    if printout.stripe_url:
        asked += f"\n  stripe  {printout.stripe_url}   (POST /_control/refund, /_control/dispute, /_control/renew, …)"
    return f"""\
Form-State {printout.mode} is up: {", ".join(printout.urls)}   (docs: {url}/docs)

  user    {seeded.email}, password {seeded.password}
          token {printout.user_token}
  admin   token {printout.admin_token}
  API key {printout.api_key}
  models  {", ".join(printout.models)}{asked}

Paste this:

  curl {url}/v1/chat/completions \\
    -H 'Authorization: Bearer {printout.api_key}' \\
    -H 'Content-Type: application/json' \\
    -d '{body}'

Or with the official SDK: OpenAI(base_url="{url}/v1", api_key="{printout.api_key}")

Ctrl-C stops everything."""
