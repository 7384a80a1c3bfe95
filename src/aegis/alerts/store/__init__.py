"""SQL of alerts, one module a table or two."""
