"""The state that the managers of a fleet share: objects that each of them reads, and replaces by compare-and-swap."""
