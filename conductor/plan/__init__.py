"""What to do: values and decisions without input or output. Everything that acts imports this package."""
