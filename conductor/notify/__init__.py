"""Notifications: which settings apply, and the delivery to a command and a webhook."""
