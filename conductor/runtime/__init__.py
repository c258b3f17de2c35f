"""The port to what runs containers, and its implementation for Docker."""
