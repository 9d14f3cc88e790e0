"""`python -m devnet.provider --port P`: the provider as a server of its own."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import get_args

from api.server import listening_socket
from devnet.provider.errors import ProviderError
from devnet.provider.options import TUNABLE, Fail, ProviderOptions, changed
from devnet.provider.server import serve

PREFIX = "FORMSTATE_PROVIDER_"
EPILOG = f"""\
Every option can also come from the environment ({PREFIX}LATENCY_MS=200) and be changed at run
time. Most can be set for one request, by a header or a directive in its last user message; the later wins:

  options        curl localhost:9100/_control/options -d '{{"latency_ms": 200, "fail": "error-429"}}'
  one request    X-Provider-Latency-Ms: 200, X-Provider-Fail: mid-stream, X-Provider-Fail-After-Tokens: 5
  by its text    "Hello [[latency_ms=200]] [[tokens=500]] [[tps=50]] [[fail=mid-stream]] [[after=5]]"
                 also [[cached=N]] [[cache_min=N]] [[reasoning=N]] [[retry_after=S]]
  what it saw    curl localhost:9100/_control/requests    (DELETE sets the counts back)

--fail takes: {", ".join(get_args(Fail))}.
mid-stream resets the connection after --fail-after-tokens tokens, hang-mid-stream stops there,
error-in-stream sends an error event there; without a stream half of the body is sent. hang accepts and never
answers. garbage is a 200 that is not JSON. no-usage leaves the usage out, no-done a stream's last events.

Answers depend on model, tools and messages alone. A token is four characters, a stream has an event for each.
Tools are called when tool_choice forces one, JSON is answered when response_format asks, both minimal.
"""


def parser() -> argparse.ArgumentParser:
    """The command line; options that are not given come from the environment, else from `ProviderOptions`."""
    made = argparse.ArgumentParser(
        prog="python -m devnet.provider",
        description="A deterministic OpenAI-compatible provider for development, tests and benchmarks.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument("--port", type=int, default=9100, help="port, 0 for a free one (default: %(default)s)")
    made.add_argument("--json", action="store_true", help="print the address as one JSON object")
    made.add_argument("--model", action="append", dest="models", metavar="NAME", help="a model's name; repeat for more")
    made.add_argument("--api-key", metavar="KEY", help="refuse other keys with 401 (better by the environment)")
    made.add_argument("--log-size-max", metavar="N", help="requests kept for /_control/requests")
    made.add_argument("--context-tokens-max", metavar="N", help="the context of every model")
    defaults = ProviderOptions()
    for name in TUNABLE:
        default = getattr(defaults, name)
        flag = f"--{name.replace('_', '-')}"
        made.add_argument(flag, metavar="X", help=f"default: {'by rule' if default is None else default}")
    return made


def options_of(arguments: Mapping[str, object], environment: Mapping[str, str]) -> ProviderOptions:
    """The options from the command line, else the environment; raises `ProviderError` naming a wrong one."""
    given: dict[str, object] = {}
    for name in ProviderOptions.__struct_fields__:
        value = environment.get(PREFIX + name.upper())
        if value:
            given[name] = value.split(",") if name == "models" else value
        if arguments.get(name) is not None:
            given[name] = arguments[name]
    return changed(ProviderOptions(), given)


def main() -> None:
    """Print the address, serve until SIGINT or SIGTERM."""
    made = parser()
    arguments = made.parse_args()
    try:
        options = options_of(vars(arguments), os.environ)
        listener = listening_socket(arguments.host, arguments.port)
    except ProviderError as wrong:
        made.error(wrong.message)
    except OSError as taken:
        sys.exit(f"cannot listen on {arguments.host}:{arguments.port}: {taken.strerror}")
    url = f"http://{arguments.host}:{listener.getsockname()[1]}"
    if arguments.json:
        ready = {"url": url, "base_url": f"{url}/v1", "models": options.models, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
    else:
        print(
            f"provider on {url}/v1 with {', '.join(options.models)}; inspect {url}/_control/requests",
            flush=True,
        )
    serve(options, listener)


if __name__ == "__main__":
    main()
