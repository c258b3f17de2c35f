"""The commands: one file per command, in folders as on the command line."""
