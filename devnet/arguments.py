"""What devnet and stack are told on the command line, where it is the same for both."""

import argparse

from msgspec import Struct


class Upstream(Struct, frozen=True, kw_only=True):
    """Another OpenAI-compatible server behind the gateway, under a model name, at a stated price."""

    base_url: str
    model: str
    api_key: str | None
    price_input: str
    price_output: str
    context: int


class Common(Struct, frozen=True, kw_only=True):
    """The choices that devnet and stack share."""

    host: str
    port: int
    json: bool
    limits: bool
    local_model: bool
    upstream: Upstream | None
    log_level: str


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the shared options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="first port to listen on; 0: a free one (default: 8000)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on the first line, for programs")
    parser.add_argument("--no-limits", action="store_true", help="no rate limits and no daily quotas, for any account")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    models = parser.add_argument_group("models")
    models.add_argument("--local-model", action="store_true", help="also serve a small real language model")
    models.add_argument("--upstream", metavar="URL", help="an OpenAI-compatible server, up to and including /v1")
    models.add_argument("--upstream-key", metavar="KEY", help="its API key, if it wants one")
    models.add_argument("--model", metavar="NAME", help="the name under which clients call it")
    models.add_argument(
        "--price-input",
        metavar="CREDITS",
        default="1.000000",
        help="per million tokens of input (default: %(default)s)",
    )
    models.add_argument(
        "--price-output", metavar="CREDITS", default="4.000000", help="and of output (default: %(default)s)"
    )
    models.add_argument(
        "--upstream-context", metavar="TOKENS", type=int, default=131_072, help="its context (default: %(default)s)"
    )


def common(parser: argparse.ArgumentParser, words: argparse.Namespace) -> Common:
    """The shared choices; ends the process with what is wrong."""
    upstream = None
    if words.upstream:
        if not words.model:
            parser.error("--upstream needs --model NAME: the name under which clients call it")
        upstream = Upstream(
            base_url=words.upstream,
            model=words.model,
            api_key=words.upstream_key,
            price_input=words.price_input,
            price_output=words.price_output,
            context=words.upstream_context,
        )
    elif words.model or words.upstream_key:
        parser.error("--model and --upstream-key go with --upstream URL")
    return Common(
        host=words.host,
        port=words.port,
        json=words.json,
        limits=not words.no_limits,
        local_model=words.local_model,
        upstream=upstream,
        log_level=words.log_level,
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:  # noqa: PLR2004 (the largest port there is)
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 0 to 65535")
    return int(text)
