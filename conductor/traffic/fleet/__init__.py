"""Implements the traffic port in a fleet: a change is made by the nginx of every edge."""
