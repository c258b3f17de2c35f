"""The definitions in other tools' formats: Compose, Kubernetes, Quadlet (pure)."""
