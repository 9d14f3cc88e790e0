"""The files of plans and models: the shipped ones load, a wrong one is told by file, line and key."""

from pathlib import Path

import pytest

from api.llm_models import SHIPPED as MODELS
from api.llm_models import load_llm_models
from api.plans import SHIPPED as PLANS
from api.plans import load_plans
from api.toml_file import BadFile
from domain.account.plan_terms import FeatureLimit
from domain.account.usage import Price, Usage, cost

MODEL = """
[models.m]
provider = "openai_compatible"
base_url = "https://api.example.com/v1/"
context = 1000
"""
PRICED = 'input = "1"\ncached_input = "1"\noutput = "1"\n'


def written(folder: Path, text: str) -> Path:
    """A file with the text."""
    path = folder / "given.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_models() -> None:
    """The basic model costs 1, 0.1 and 4 credits per million tokens and has a context of 32,768."""
    model = load_llm_models(environ={})["fs-basic"]
    assert model.price is not None
    assert (model.price.input, model.price.cached_input, model.price.output) == (1_000_000, 100_000, 4_000_000)
    assert (model.status, model.context, model.built_in) == ("priced", 32_768, True)
    assert cost(Usage(source="provider", input=1_000_000, output=1_000_000), model.price) == 5_000_000


def test_the_version_is_of_the_price(tmp_path: Path) -> None:
    """A price has the same version wherever it is written, and another price another version."""

    def price(text: str) -> Price | None:
        return load_llm_models(written(tmp_path, MODEL + text), {})["m"].price

    one = load_llm_models(environ={})["fs-basic"].price
    other = price('input = "1"\ncached_input = "1"\noutput = "4"\n')
    assert one == price('input = "1"\ncached_input = "0.1"\noutput = "4.0"\n')
    assert one is not None
    assert other is not None
    assert one.version != other.version


def test_tiers_have_prices_of_their_own(tmp_path: Path) -> None:
    """In the shape of the model's; each knows the standard one, and its version is not of the same amounts without."""
    prices = 'input = "1"\ncached_input = "0.1"\noutput = "4"\n'
    text = MODEL + prices + 'allow = ["Extra_Body"]\nrefuse = ["x"]\n[models.m.tiers.priority]\n' + prices
    model = load_llm_models(written(tmp_path, text), {})["m"]
    tier = model.tiers["priority"]
    assert model.price is not None
    assert (tier.tier, tier.standard, tier.output) == ("priority", model.price, 4_000_000)
    assert tier.version != model.price.version
    assert (model.allow, model.refuse, model.deployments[0].standard_tier) == (
        frozenset({"extrabody"}),
        frozenset({"x"}),
        "default",
    )


def test_a_model_in_full(tmp_path: Path) -> None:
    """Keys come from the environment and show in no `repr`; fallbacks inherit what they leave out."""
    text = MODEL + (
        'api_key_env = "PROVIDER_KEY"\nupstream_model = "up"\nmax_output = 10\ntimeout_s = 30\nfree = true\n'
        '[[models.m.fallbacks]]\nbase_url = "http://127.0.0.1:1/v1"\ntimeout_s = 5.5\n'
    )
    model = load_llm_models(written(tmp_path, text), {"PROVIDER_KEY": "very secret"})["m"]
    first, second = model.deployments
    assert (first.base_url, first.upstream_model, first.api_key) == ("https://api.example.com/v1", "up", "very secret")
    assert (second.upstream_model, second.api_key, second.timeout_s) == ("up", None, 5.5)
    assert (model.status, model.timeout_s) == ("free", 30.0)
    assert "very secret" not in repr(model)


def test_no_price_is_no_zero(tmp_path: Path) -> None:
    """A model without a price has none; it is not free."""
    model = load_llm_models(written(tmp_path, MODEL), {})["m"]
    assert (model.status, model.price) == ("unpriced", None)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("input = 1.25", "given.toml:6: models.m.input: Expected `str | null`, got `float`"),
        ('input = "1"', "given.toml:2: models.m.cached_input: missing"),
        ('input = "1"\ncached_input = "x"\noutput = "1"', "given.toml:7: models.m.cached_input: cached_input must be"),
        ('input = "1"\ncached_input = "1"\noutput = "1"\nfree = true', "given.toml:9: models.m.free: expected either"),
        (
            'input = "1"\ncached_input = "1"\noutput = "1"\naudio_input = "1"',
            "models.m.audio_output: missing; audio_in",
        ),
        (
            'audio_input = "1"\naudio_output = "1"',
            "models.m.input: missing; input, cached_input and output go together",
        ),
        ("colour = 1", "given.toml:6: models.m.colour: unknown; there are allow,"),
        ("max_output = 1001", "given.toml:6: models.m.max_output: expected at most the context"),
        ("timeout_s = 0", "given.toml:6: models.m.timeout_s: Expected"),
        ("timeout_s = 86_300", "given.toml:6: models.m.timeout_s: expected at most 86280 seconds"),
        ('api_key_env = "NOT_SET"', "given.toml:6: models.m.api_key_env: the environment variable NOT_SET is not set"),
        ('web_search = "1"', "given.toml:2: models.m.input: missing; tiers and web_search go with"),
        ('free = true\nrequest = "1"', "given.toml:6: models.m.free: expected either free = true or prices"),
        ('[models.m.tiers.flex]\noutput = "1"', "models.m.input: missing; tiers and web_search go with"),
        (PRICED + '[models.m.tiers.flex]\noutput = "1"', "given.toml:9: models.m.tiers.flex.input: missing"),
        (PRICED + "[models.m.tiers.flex]\noutput = 1", "models.m.tiers.output: Expected `str"),
        (PRICED + f"[models.m.tiers.default]\n{PRICED}", "models.m.tiers.default: default is the standard tier"),
        (PRICED + f'[models.m.tiers."F x"]\n{PRICED}', "models.m.tiers.F x: expected a name"),
        ("context = 2", "given.toml: Cannot overwrite a value"),
        ("oops", "given.toml: "),
        ("[limits]\nx = 1", "given.toml:6: limits: unknown"),
        ('[[models.m.fallbacks]]\nbase_url = "ftp://x"', "models.m.base_url: expected a URL"),
        ('[[models.m.fallbacks]]\nbase_url = "http://[x"', "models.m.base_url: expected a URL"),
        ("[[models.m.fallbacks]]\ntimeout_s = 1", "models.m.fallbacks"),
    ],
)
def test_wrong_models(tmp_path: Path, more: str, told: str) -> None:
    """What is wrong is told with file, line and key."""
    with pytest.raises(BadFile) as wrong:
        load_llm_models(written(tmp_path, MODEL + more + "\n"), {})
    assert told in str(wrong.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('price = "20"', "price = 20", "plans.pro.price: Expected `str`, got `int`; write it in quotes"),
        ('price = "20"', 'price = "twenty"', "plans.pro.price: expected dollars"),
        ("api_keys = 100", "api_keys = -1", "plans.pro.api_keys: expected a whole number"),
        ("api_keys = 100", 'api_keys = "many"', "plans.pro.api_keys: expected a whole number"),
        ("api_keys = 100", "", "plans.pro: Object missing required field `api_keys`"),
        (
            "api_keys = 100",
            'scope_requests_per_minute = { "models:invok" = 3 }\napi_keys = 100',
            "plans.pro.scope_requests_per_minute.models:invok: expected a whole number from 0, for one of billing:read",
        ),
        (
            "api_keys = 100",
            'scope_requests_per_minute = { "models:invoke" = -1 }\napi_keys = 100',
            "plans.pro.scope_requests_per_minute.models:invoke: expected a whole number from 0",
        ),
        ("[plans.free]", "[plans.gratis]", "plans.free: missing; every account begins with it"),
        ("[plans.pro]", '[plans."Pro Plan"]', "plans.Pro Plan: expected an id of at most 50"),
        ('price = "0"', 'price = "1"', 'plans.free.price: expected "0"'),
        ('monthly_credits = "0"', 'monthly_credits = "1"', 'plans.free.monthly_credits: expected "0"'),
        ('price = "0"', 'price = "0"\nclosed = true', "plans.free.closed: expected false"),
        ('price = "20"', 'price = "-20"', "plans.pro.price: expected dollars"),
        ('price = "20"', 'price = "0.0000001"', "plans.pro.price: expected dollars"),
        ('price = "20"', 'price = "1000000001"', "plans.pro.price: expected dollars from 0 to 1000000000"),
        ("agent_slots = 5", "agent_slots = 5.5", "plans.pro.agent_slots: "),
        ("agent_slots = 5", "agent_slots = 1_000_000_000_001", "plans.pro.agent_slots: expected a whole number from 0"),
        ("agent_slots = 5", "agent_slots = 5\ntrial_days = 366", "plans.pro.trial_days: Expected `int` <= 365"),
        ("agent_slots = 5", "agent_slots = 5\ngrace_days = -1", "plans.pro.grace_days: Expected `int` >= 0"),
        ("agent_slots = 5", 'agent_slots = 5\nstripe_price = "a b"', "plans.pro.stripe_price: Expected"),
        ('seats = 1\nfeatures = ["basic_models"]', 'seats = 0\nfeatures = ["basic_models"]', "plans.free.seats: exp"),
        (
            'features = ["basic_models"]',
            'features = ["basic_model"]',
            "plans.free.features: 'basic_model' is unknown; declare [features.",
        ),
        (
            'features = ["basic_models"]',
            'features = ["basic_models", "basic_models"]',
            "plans.free.features: 'basic_models' is there twice",
        ),
    ],
)
def test_wrong_plans(tmp_path: Path, old: str, new: str, told: str) -> None:
    """The same for the file of plans."""
    shipped = PLANS.read_text(encoding="utf-8")
    changed = shipped.replace(old, new)
    assert changed != shipped
    with pytest.raises(BadFile) as wrong:
        load_plans(written(tmp_path, changed))
    assert told in str(wrong.value)
    if new and "missing" not in told and "scope" not in told and "\n" not in new:
        assert changed.splitlines()[int(str(wrong.value).split(":")[1]) - 1] == new


MORE = """
[features.searches]
title = "Web searches"
metered = true
[features.basic_models]
title = "All the basics"
[plans.free]
title = "Free"
price = "0"
monthly_credits = "0"
messages_per_day = 0
requests_per_minute = "unlimited"
requests_per_day = 1_000_000_000_000
agent_slots = 0
api_keys = 0
seats = 1
features = ["basic_models", "searches"]
trial_days = 14
grace_days = 0
[plans.free.feature_limits]
searches = { per_day = 0, per_month = "unlimited" }
[top_ups.small]
title = "Ten"
price = "9.99"
credits = "10"
stripe_price = "price_1"
"""


def test_plans_with_features_and_top_ups_of_their_own(tmp_path: Path) -> None:
    """An operator declares features, limits those that are metered, and sells credits beside the plans."""
    plans = load_plans(written(tmp_path, MORE))
    assert (plans.features["searches"].title, plans.features["searches"].metered) == ("Web searches", True)
    assert plans.features["basic_models"].title == "All the basics"
    assert plans.features["sso"].title == "Single sign-on"
    free = plans.free
    assert (free.messages_per_day, free.requests_per_minute, free.requests_per_day) == (0, None, 10**12)
    assert (free.trial_days, free.grace_days, free.seats) == (14, 0, 1)
    assert free.feature_limits == {"searches": FeatureLimit(per_day=0, per_month=None)}
    small = plans.top_ups["small"]
    assert (small.price, small.credits, small.stripe_price) == (9_990_000, 10_000_000, "price_1")
    assert load_plans(PLANS).top_ups == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("metered = true", "metered = 1", "given.toml:4: features.searches.metered: Expected `bool`"),
        ('title = "All the basics"', "metered = true", "given.toml:5: features.basic_models: Object missing"),
        ('title = "All the basics"', 'title = "B"\nmetered = true', "given.toml:7: features.basic_models.metered: exp"),
        ("[features.searches]", "[features.Searches]", "given.toml:2: features.Searches: expected an id"),
        (
            "{ per_day = 0",
            "{ per_day = -1",
            "given.toml:21: plans.free.feature_limits.searches.per_day: Expected",
        ),
        (
            "{ per_day = 0",
            "{ per_week = 1",
            "given.toml:21: plans.free.feature_limits.searches.per_week: unknown; there are per_day, per_month",
        ),
        ("{ per_day = 0", "{ per_day = 0.5", "given.toml:21: plans.free.feature_limits."),
        (
            "searches = {",
            "basic_models = {",
            "given.toml:21: plans.free.feature_limits.basic_models: expected",
        ),
        ('price = "9.99"', 'price = "0"', "given.toml:24: top_ups.small.price: expected more than 0"),
        ('price = "9.99"', "price = 9.99", "given.toml:24: top_ups.small.price: Expected `str`, got `float`"),
        ('credits = "10"', 'credits = "0"', "given.toml:25: top_ups.small.credits: expected more than 0"),
        ("[top_ups.small]", "[top_ups.SMALL]", "given.toml:22: top_ups.SMALL: expected an id"),
        ("trial_days = 14", 'stripe_price = "price_1"', "given.toml:26: top_ups.small.stripe_price: expected a price"),
        (
            "[features.searches]",
            "[extras.searches]",
            "given.toml:2: extras: unknown; the file has tables [plans.…],",
        ),
    ],
)
def test_wrong_features_and_top_ups(tmp_path: Path, old: str, new: str, told: str) -> None:
    """What is wrong is told with its line, in tables within tables too."""
    assert old in MORE
    with pytest.raises(BadFile) as wrong:
        load_plans(written(tmp_path, MORE.replace(old, new)))
    assert told in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[plans.pro]\n# red\ncolour = 1\n", ":3: plans.pro.colour: unknown; there are agent_slots, api_keys,"),
        ('[plans.pro]\n\n"colour" = 1\n', ":3: plans.pro.colour: unknown;"),
        ("# plans\nplans = 3\n", ":2: plans: expected tables"),
        ("other = 3\n", ":1: other: unknown;"),
        ("\n[plans]\nfree.title = 'Free'\nfree.price = 0\n", ":4: plans.free.price: Expected `str`, got `int`"),
        ("[plans]\n\nfree = { price = 0 }\n", ":3: plans.free.price: Expected `str`, got `int`"),
        ("[plans.pro.colour]\nred = 1\n", ":1: plans.pro.colour: unknown;"),
        ("[plans.pro]\nprice = \n", "(at line 2, column 9)"),
        ("x = " + "[" * 5_000, "too many brackets"),
    ],
)
def test_the_line_that_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    """However the table is written: the line of the key that is wrong, not of the table around it."""
    with pytest.raises(BadFile) as wrong:
        load_plans(written(tmp_path, text))
    assert told in str(wrong.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """As some editors put before a file."""
    assert "free" in load_plans(written(tmp_path, "\N{ZERO WIDTH NO-BREAK SPACE}" + PLANS.read_text(encoding="utf-8")))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, and one that is not text, are named."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "binary.toml"):
        with pytest.raises(BadFile, match=name):
            load_plans(tmp_path / name)
    with pytest.raises(BadFile, match="no table"):
        load_plans(written(tmp_path, ""))


def test_shipped_files_are_beside_the_code() -> None:
    """Both shipped files exist."""
    assert PLANS.is_file()
    assert MODELS.is_file()
