"""What people and scripts see: events become lines, a live line or JSON. No other package prints."""
