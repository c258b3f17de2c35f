"""Conductor: deploys containers on one machine without dropping a request."""

DEFINITIONS = "/etc/conductor/services.yml"
__version__ = "0.1.0"
