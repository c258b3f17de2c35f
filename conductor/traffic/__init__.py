"""Traffic: what nginx serves, the proof that it does, and the proof that old replicas are drained."""
