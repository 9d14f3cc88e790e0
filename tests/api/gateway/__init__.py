"""The metering gateway, from its leaves to the whole product on loopback."""
