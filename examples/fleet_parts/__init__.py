"""The parts of `examples/fleet`."""
