"""Conductor: deploys containers on one machine behind nginx, without downtime."""

DEFINITIONS = "/etc/conductor/services.yml"
STATE_DIR = "/var/lib/conductor"
RUNTIME_DIR = "/run/conductor"
__version__ = "0.1.0"
COMMIT = ""  # a build writes its commit here
