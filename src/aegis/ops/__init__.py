"""What is done to PostgreSQL itself: backed up, restored, checked, measured, maintained."""
