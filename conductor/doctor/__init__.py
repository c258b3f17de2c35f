"""Checks of the host and its services for `conductor doctor`, each with the command that fixes what it finds."""
