"""`conductor config`: one file per command."""
