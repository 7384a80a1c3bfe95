"""Memory: episodes, facts, decisions; recall."""
