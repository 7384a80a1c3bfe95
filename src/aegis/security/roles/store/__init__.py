"""SQL of the security domain."""
