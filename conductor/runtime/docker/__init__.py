"""The Docker Runtime behind the runtime port."""
