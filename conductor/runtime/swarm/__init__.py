"""The runtime of a fleet: Docker's Swarm mode."""
