"""SQL of encrypted columns: which they are, and their values."""
