"""What Conductor remembers: small versioned files, written whole or not at all, and locks that die with their holder."""
