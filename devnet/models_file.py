"""The models file of a devnet or a stack: the built-in models at their address, and what was asked for on top."""

from collections.abc import Sequence
from pathlib import Path

from api.llm_models import SHIPPED, LlmModels, load_llm_models
from devnet.arguments import Upstream

UPSTREAM_KEY_ENV = "FORMSTATE_UPSTREAM_KEY"
LOCAL_MODEL_CONTEXT = 2_048
"""What the local model's server gives to each of its two slots."""
SHIPPED_BASE_URL = "http://127.0.0.1:9100/v1"


def local_upstream(base_url: str, model: str) -> Upstream:
    """The real language model of `--local-model`, at the price of the basic one."""
    return Upstream(
        base_url=base_url,
        model=model,
        api_key=None,
        price_input="1.000000",
        price_output="4.000000",
        context=LOCAL_MODEL_CONTEXT,
    )


def write_models(path: Path, provider_url: str, upstreams: Sequence[Upstream]) -> LlmModels:
    """Writes the file and reads it back, so that what is wrong with it is said before anything starts."""
    text = SHIPPED.read_text("utf-8").replace(SHIPPED_BASE_URL, provider_url)
    path.write_text(text + "".join(_table(each) for each in upstreams), "utf-8")
    key = next((each.api_key for each in upstreams if each.api_key), None)
    return load_llm_models(path, {UPSTREAM_KEY_ENV: key} if key else {})


def _table(upstream: Upstream) -> str:
    lines = [
        f'\n[models."{upstream.model}"]',
        'provider = "openai_compatible"',
        f'base_url = "{upstream.base_url}"',
        f"context = {upstream.context}",
        f'input = "{upstream.price_input}"',
        f'cached_input = "{upstream.price_input}"',
        f'output = "{upstream.price_output}"',
    ]
    if upstream.api_key:
        lines.append(f'api_key_env = "{UPSTREAM_KEY_ENV}"')
    return "\n".join(lines) + "\n"
