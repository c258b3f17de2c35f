"""`conductor cron`: one file per command."""
