"""`conductor nginx`: one file per command."""
