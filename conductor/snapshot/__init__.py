"""The host as `service list`, `service status` and `cron list` show it."""
