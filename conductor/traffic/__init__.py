"""Traffic: what nginx is told, when it has truly heard it, and when the old containers have nothing left to do."""
