"""Conductor: deploys containers on one machine without dropping a request."""

__version__ = "0.1.0"
