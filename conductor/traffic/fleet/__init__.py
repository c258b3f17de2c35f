"""Implements the traffic port on a fleet: a change is made by the nginx of every edge."""
