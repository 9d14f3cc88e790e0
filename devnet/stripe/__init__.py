"""A payment provider on loopback that speaks Stripe's API for what Form-State asks of it, and pays when told to."""

from devnet.stripe.server import running
from devnet.stripe.shop import DevStripe, Price

__all__ = ["DevStripe", "Price", "running"]
