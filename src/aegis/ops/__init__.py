"""What is done to PostgreSQL itself: checked, measured, maintained. One package a thing done."""
