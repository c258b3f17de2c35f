"""`conductor service`: one file per command."""
