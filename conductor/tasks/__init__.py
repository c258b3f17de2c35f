"""One-off tasks, consoles and cron jobs: a container of a release with somebody's streams or terminal on it."""
