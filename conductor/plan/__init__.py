"""What to do: values and decisions, no input or output. Everything that acts imports this; this imports none of it."""
