"""The metering gateway: hold credits, call the provider, pass its bytes on, settle what was delivered."""
