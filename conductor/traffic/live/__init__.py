"""Traffic without a reload of nginx: its workers choose among peers that Conductor sets in the running nginx."""
