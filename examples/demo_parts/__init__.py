"""The demo after installation; `examples/demo` runs it."""
