"""The runtime port implemented for Docker."""
