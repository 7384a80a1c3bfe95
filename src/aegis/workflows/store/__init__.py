"""SQL of workflows. Functions take the caller's `conn`."""
