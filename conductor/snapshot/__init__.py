"""The host as `status` and `cron list` show it."""
