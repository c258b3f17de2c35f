"""Health checks: one check of a replica, and the monitor that repeats them."""
