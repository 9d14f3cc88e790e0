"""What devnet and stack are told on the command line, where it is the same for both."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from msgspec import Struct

from api.llm_models import is_base_url, load_llm_models
from api.plans import load_plans
from api.toml_file import BadFile
from domain.errors import Invalid
from domain.money import parse_credits
from domain.user import Role

PORT_MAX = 65_535
CONTEXT_MAX = 100_000_000
ROLES: tuple[Role, ...] = get_args(Role)
_SUBJECT = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,200}")


class Upstream(Struct, frozen=True, kw_only=True):
    """Another OpenAI-compatible server behind the gateway, under a model name, at a stated price."""

    base_url: str
    model: str
    api_key: str | None
    price_input: str
    price_output: str
    context: int


class Person(Struct, frozen=True, kw_only=True):
    """Somebody for whom a login token was asked. Without a `role` the user's stays what it is."""

    subject: str
    role: Role | None

    @property
    def email(self) -> str:
        """The address under which devnet registers the user."""
        return f"{self.subject}@example.com"


ISSUED = (Person(subject="ida", role="user"), Person(subject="otto", role="developer"))
"""Who gets a token of the identity provider when nobody is named."""


class Common(Struct, frozen=True, kw_only=True):
    """The choices that devnet and stack share."""

    host: str
    port: int
    json: bool
    limits: bool
    local_model: bool
    upstream: Upstream | None
    log_level: str
    people: Sequence[Person] = ()
    issued: Sequence[Person] | None = None
    """Who gets a token of the identity provider; `None`: there is none."""
    plans_file: Path | None = None
    """Plans other than the shipped ones."""


def common_parser(prog: str, description: str | None, epilog: str) -> argparse.ArgumentParser:
    """A command line with the shared options."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="first port to listen on; 0: a free one (default: 8000)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on the first line, for programs")
    parser.add_argument(
        "--no-limits",
        action="store_true",
        help="no rate limits and no daily quotas, for any account; failed logins are slowed down all the same",
    )
    parser.add_argument(
        "--jwt",
        type=_person,
        action="append",
        default=[],
        metavar="SUBJECT[:ROLE]",
        help=f"also register SUBJECT@example.com, with a role ({', '.join(ROLES)}), and print a login token for it; "
        "repeat for more",
    )
    parser.add_argument(
        "--issuer",
        type=_person,
        nargs="*",
        metavar="SUBJECT[:ROLE]",
        help="also start an identity provider on this machine, take its tokens, and print one for each SUBJECT "
        f"({', '.join(f'{each.subject}:{each.role}' for each in ISSUED)} if none is named)",
    )
    parser.add_argument(
        "--plans",
        type=_plans,
        metavar="FILE",
        default=os.environ.get("FORMSTATE_PLANS_FILE") or None,
        help="plans other than the shipped ones (default: FORMSTATE_PLANS_FILE, if it is set)",
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    _add_models(parser.add_argument_group("models"))
    return parser


def _add_models(models: "argparse._ArgumentGroup") -> None:
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
        "--upstream-context",
        metavar="TOKENS",
        type=_context,
        default=131_072,
        help="its context (default: %(default)s)",
    )


def common(parser: argparse.ArgumentParser, words: argparse.Namespace) -> Common:
    """The shared choices; ends the process with what is wrong."""
    if not words.upstream and (words.model or words.upstream_key):
        parser.error("--model and --upstream-key go with --upstream URL")
    issued = words.issuer if words.issuer is None else tuple(words.issuer) or ISSUED
    twice = {each.subject for each in issued or ()} & {each.subject for each in words.jwt}
    if twice:
        parser.error(f"--jwt and --issuer both name {min(twice)}: they are different users, call them differently")
    return Common(
        host=words.host,
        port=words.port,
        json=words.json,
        limits=not words.no_limits,
        local_model=words.local_model,
        upstream=_upstream(parser, words) if words.upstream else None,
        log_level=words.log_level,
        people=words.jwt,
        issued=issued,
        plans_file=words.plans,
    )


def _upstream(parser: argparse.ArgumentParser, words: argparse.Namespace) -> Upstream:
    """What is wrong is told by the option's name: the models file that is made of it is no business of the reader."""
    if not words.model:
        parser.error("--upstream needs --model NAME: the name under which clients call it")
    if not _MODEL.fullmatch(words.model):
        parser.error(f"--model {words.model!r} is no model's name: expected letters, digits, and any of . _ : / @ + -")
    if words.model in load_llm_models():
        parser.error(f"--model {words.model}: the built-in provider has a model of this name, choose another")
    for option, amount in (("--price-input", words.price_input), ("--price-output", words.price_output)):
        try:
            parse_credits(amount, name=option)
        except Invalid as error:
            parser.error(error.message)
    if not is_base_url(words.upstream):
        parser.error(f"--upstream {words.upstream!r} is no address: expected one such as https://api.example.com/v1")
    return Upstream(
        base_url=words.upstream,
        model=words.model,
        api_key=words.upstream_key,
        price_input=words.price_input,
        price_output=words.price_output,
        context=words.upstream_context,
    )


def _person(text: str) -> Person:
    subject, colon, role = text.partition(":")
    if not _SUBJECT.fullmatch(subject):
        raise argparse.ArgumentTypeError(f"{subject!r} is no subject: expected letters, digits, and any of . _ + -")
    if colon and role not in ROLES:
        raise argparse.ArgumentTypeError(f"{role!r} is no role: expected one of {', '.join(ROLES)}")
    return Person(subject=subject, role=next((each for each in ROLES if each == role), None))


def _plans(text: str) -> Path:
    path = Path(text).resolve()
    try:
        load_plans(path)
    except BadFile as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def _context(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= CONTEXT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no context: expected 1 to {CONTEXT_MAX} tokens")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 0 to 65535")
    return int(text)
