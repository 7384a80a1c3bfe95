"""SQL of research."""
