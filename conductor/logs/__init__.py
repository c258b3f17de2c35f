"""The logs of a service: of its replicas that exist, and those kept of removed ones."""
