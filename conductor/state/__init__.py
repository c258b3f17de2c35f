"""What Conductor stores: small versioned files, and locks that are released when their holder exits."""
