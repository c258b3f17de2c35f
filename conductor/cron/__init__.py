"""An app's crontab: parsed by the rules of Debian's cron, and wrapped for `/etc/cron.d`. No file, process or clock."""
