"""The definitions in the formats of other tools: Compose, Kubernetes, Quadlet (pure)."""
