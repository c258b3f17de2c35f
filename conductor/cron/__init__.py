"""An app's crontab: read by Debian cron's own rules, and wrapped for `/etc/cron.d`. Pure: no file, process or clock."""
