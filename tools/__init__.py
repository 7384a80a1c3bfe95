"""Programs for the people who develop Aegis; nothing of the package needs them."""
