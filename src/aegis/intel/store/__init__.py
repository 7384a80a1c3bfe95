"""SQL of the watching of competitors."""
