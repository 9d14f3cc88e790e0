"""The language models behind the gateway: `llm_models.toml`, or the file that `FORMSTATE_MODELS_FILE` names."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from api.gateway.extras import STANDARD_TIER, STANDARD_TIERS, StandardTier, folded
from api.toml_file import BadFile, TomlFile
from domain.account.usage import Price
from domain.errors import Invalid
from domain.money import MicroCredits, parse_credits

SHIPPED = Path(__file__).with_name("llm_models.toml")

ProviderKind: TypeAlias = Literal["openai_compatible"]
PriceStatus: TypeAlias = Literal["priced", "free", "unpriced"]
Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=100_000_000)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
TIMEOUT_S_MAX = 86_400 - 120
"""A hold outlives its call by a minute and may last a day; the other minute is for clocks that differ."""
PRICES = ("input", "cached_input", "output")
AUDIO_PRICES = ("audio_input", "audio_output")
MORE_PRICES = ("cache_write", "request")
"""What may be left out, each for itself."""
ALL_PRICES = PRICES + AUDIO_PRICES + MORE_PRICES
TIERS_MAX = 10
NAMES_MAX = 100
Names: TypeAlias = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=NAMES_MAX)]
_TIER = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


class _DeploymentTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fallback as it is written; what is left out is as in the model's first deployment."""

    provider: ProviderKind = "openai_compatible"
    base_url: str
    upstream_model: str | None = None
    api_key_env: str | None = None
    timeout_s: Seconds | None = None
    connect_timeout_s: Seconds | None = None
    first_byte_timeout_s: Seconds | None = None


class _PriceTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices as they are written: a model's own, or those of one of its tiers of service."""

    input: str | None = None
    cached_input: str | None = None
    output: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    cache_write: str | None = None
    request: str | None = None


class _Table(_PriceTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as it is written."""

    provider: ProviderKind
    base_url: str
    context: Tokens
    max_output: Tokens | None = None
    title: str | None = None
    upstream_model: str | None = None
    api_key_env: str | None = None
    web_search: str | None = None
    tiers: Annotated[Mapping[str, _PriceTable], Meta(max_length=TIERS_MAX)] = {}  # msgspec copies the defaults
    standard_tier: StandardTier | None = None
    allow: Names = ()
    refuse: Names = ()
    free: bool = False
    timeout_s: Seconds = 600.0
    connect_timeout_s: Seconds = 5.0
    first_byte_timeout_s: Seconds = 300.0
    fallbacks: tuple[_DeploymentTable, ...] = ()
    built_in: bool = False
    requires: str | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """One server that serves the model. `base_url` has no slash at its end."""

    provider: ProviderKind
    base_url: str
    upstream_model: str
    api_key: str | None
    """The provider's key; never shown, logged or sent anywhere else."""
    api_key_env: str | None = None
    """The environment variable that it came from."""
    timeout_s: float
    connect_timeout_s: float
    first_byte_timeout_s: float
    standard_tier: str | None = None
    """What is asked for where the client asks for no tier of service or a standard one; `None`: as the client asks."""

    def __repr__(self) -> str:
        return f"Deployment({self.base_url!r}, {self.upstream_model!r})"


class LlmModel(Struct, frozen=True, kw_only=True):
    """A model under the name that clients send.

    `price` is micro-credits per million tokens; all zero if `free`, `None` if `unpriced`, which paid use refuses.
    Its `version` is a short hash of the prices, so that a charge names what it was reckoned with.
    """

    id: str
    title: str
    status: PriceStatus
    price: Price | None
    context: int
    max_output: int
    deployments: tuple[Deployment, ...]
    """The first, and its fallbacks in the order in which they are tried."""
    timeout_s: float
    """The longest that any deployment may take for a whole answer."""
    web_search: MicroCredits | None = None
    """For a request that asks for web search, beside its tokens; `None`: it is refused."""
    tiers: Mapping[str, Price] = {}  # msgspec copies the default
    """By the name of a tier of service that may be asked for, what it costs."""
    allow: frozenset[str] = frozenset()
    """Parameters that are charged extra and pass all the same, their names `folded`."""
    refuse: frozenset[str] = frozenset()
    """Parameters that do not pass, besides those that never do."""
    built_in: bool = False
    requires: str | None = None
    """The feature that a plan must have for it; `None`: every plan has it."""


class LlmModels(Mapping[str, LlmModel]):
    """All models by name, in the file's order."""

    def __init__(self, models: Mapping[str, LlmModel]) -> None:
        self._models = dict(models)

    def __getitem__(self, name: str) -> LlmModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def variables(self) -> set[str]:
        """The environment variables that hold the providers' keys."""
        deployments = (each for model in self._models.values() for each in model.deployments)
        return {each.api_key_env for each in deployments if each.api_key_env is not None}

    def check_features(self, known: Collection[str]) -> None:
        """`BadFile` for a model that requires a feature which the plan file does not know."""
        for model in self._models.values():
            if model.requires is not None and model.requires not in known:
                raise BadFile(f"model {model.id}: requires: no plan can have {model.requires!r}, which nobody declares")


def is_base_url(text: str) -> bool:
    """Whether a server of models can be reached under it; what its paths are appended to."""
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.hostname) and not (url.query or url.fragment or url.username)


def load_llm_models(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> LlmModels:
    """The models of a file, or the shipped ones; providers' keys from `environ`. `BadFile` names what is wrong."""
    file = TomlFile(path or SHIPPED)
    tables = file.tables("models", _Table)
    return LlmModels({name: _Reader(file, name, table, environ).model() for name, table in tables.items()})


class _Reader:
    """Makes one table a model."""

    def __init__(self, file: TomlFile, name: str, table: _Table, environ: Mapping[str, str]) -> None:
        self._file = file
        self._name = name
        self._table = table
        self._environ = environ

    def model(self) -> LlmModel:
        table = self._table
        first = _DeploymentTable(
            provider=table.provider,
            base_url=table.base_url,
            upstream_model=table.upstream_model,
            api_key_env=table.api_key_env,
        )
        max_output = table.context if table.max_output is None else table.max_output
        if max_output > table.context:
            raise self._wrong("max_output", expected="expected at most the context")
        status, price = self._price()
        web_search = None if table.web_search is None else self._amount(table.web_search, "web_search")
        deployments = tuple(self._deployment(each) for each in (first, *table.fallbacks))
        return LlmModel(
            id=self._name,
            title=table.title or self._name,
            status=status,
            price=price,
            context=table.context,
            max_output=max_output,
            deployments=deployments,
            timeout_s=max(each.timeout_s for each in deployments),
            web_search=web_search,
            tiers=self._tiers(price),
            allow=frozenset(map(folded, table.allow)),
            refuse=frozenset(map(folded, table.refuse)),
            built_in=table.built_in,
            requires=table.requires,
        )

    def _deployment(self, written: _DeploymentTable) -> Deployment:
        if not is_base_url(written.base_url):
            raise self._wrong("base_url", expected='expected a URL such as "https://api.example.com/v1"')
        api_key: str | None = None
        if written.api_key_env is not None:
            api_key = self._environ.get(written.api_key_env)
            if not api_key:
                raise self._wrong("api_key_env", expected=f"the environment variable {written.api_key_env} is not set")
        table = self._table
        timeout_s = written.timeout_s or table.timeout_s
        if timeout_s > TIMEOUT_S_MAX:
            raise self._wrong("timeout_s", expected=f"expected at most {TIMEOUT_S_MAX} seconds")
        return Deployment(
            provider=written.provider,
            base_url=written.base_url.rstrip("/"),
            upstream_model=written.upstream_model or table.upstream_model or self._name,
            api_key=api_key,
            api_key_env=written.api_key_env,
            timeout_s=timeout_s,
            connect_timeout_s=written.connect_timeout_s or table.connect_timeout_s,
            first_byte_timeout_s=written.first_byte_timeout_s or table.first_byte_timeout_s,
            standard_tier=table.standard_tier or (STANDARD_TIER if table.tiers else None),
        )

    def _price(self) -> tuple[PriceStatus, Price | None]:
        table = self._table
        given = _given(table)
        if table.free:
            if given or table.tiers or table.web_search is not None:
                raise self._wrong("free", expected="expected either free = true or prices, not both")
            return "free", _priced(dict.fromkeys(PRICES, 0))
        if not given:
            if table.tiers or table.web_search is not None:
                raise self._wrong("input", expected="missing; tiers and web_search go with the prices of tokens")
            return "unpriced", None
        return "priced", _priced(self._amounts(given))

    def _tiers(self, standard: Price | None) -> Mapping[str, Price]:
        tiers = {}
        for name, table in self._table.tiers.items():
            if name in STANDARD_TIERS:
                expected = f"{name} is the standard tier, whose prices are the model's own"
                raise self._wrong("tiers", name, expected=expected)
            if _TIER.fullmatch(name) is None:
                raise self._wrong(
                    "tiers", name, expected="expected a name of at most 64 small letters, digits, _ and -"
                )
            tiers[name] = _priced(self._amounts(_given(table), "tiers", name), tier=name, standard=standard)
        return tiers

    def _amounts(self, given: Mapping[str, str], *place: str) -> dict[str, MicroCredits]:
        for name in PRICES:
            if name not in given:
                expected = 'missing; input, cached_input and output go together, such as input = "1.25"'
                raise self._wrong(*place, name, expected=expected)
        for one, other in (AUDIO_PRICES, AUDIO_PRICES[::-1]):
            if one in given and other not in given:
                raise self._wrong(*place, other, expected="missing; audio_input and audio_output go together")
        return {name: self._amount(text, *place, name) for name, text in given.items()}

    def _amount(self, text: str, *place: str) -> MicroCredits:
        try:
            return parse_credits(text, name=place[-1])
        except Invalid as error:
            raise self._wrong(*place, expected=error.message) from error

    def _wrong(self, *place: str, expected: str) -> BadFile:
        return self._file.wrong(("models", self._name, *place), expected)


def _given(table: _Table | _PriceTable) -> dict[str, str]:
    """The prices that are written in a table."""
    return {name: text for name in ALL_PRICES if (text := getattr(table, name)) is not None}


def _priced(amounts: Mapping[str, MicroCredits], tier: str | None = None, standard: Price | None = None) -> Price:
    entry = " ".join(f"{name}={amounts[name]}" for name in ALL_PRICES if name in amounts)
    version = hashlib.sha256((entry if tier is None else f"{entry} tier={tier}").encode()).hexdigest()[:12]
    return Price(**amounts, version=version, tier=tier, standard=standard)
