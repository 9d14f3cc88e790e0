"""A deterministic OpenAI-shaped chat-completions server, for devnet, tests and benchmarks.

In process: `async with running(ProviderOptions()) as provider: provider.base_url`.
On its own: `python -m devnet.provider --port P`.
"""

from devnet.provider.app import create_app
from devnet.provider.options import ProviderOptions
from devnet.provider.server import Running, running

__all__ = ["ProviderOptions", "Running", "create_app", "running"]
