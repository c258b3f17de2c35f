"""Traffic by reloading nginx: announce, reload, proof and drain."""
