"""Doing it: the daemon and health checks, behind Protocols."""
