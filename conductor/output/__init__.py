"""What the user is told: events go in, lines, a live line or JSON come out. No other part prints."""
