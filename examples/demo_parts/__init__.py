"""The demo once everything is installed: `examples/demo` is the command."""
