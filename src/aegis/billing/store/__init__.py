"""SQL of billing; `usage` alone reads what was metered."""
