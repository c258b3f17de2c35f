"""One-off tasks, consoles and cron jobs: containers of a release, attached to the caller's streams or terminal."""
