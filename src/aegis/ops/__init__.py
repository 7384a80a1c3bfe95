"""What is done to PostgreSQL itself, one file per thing done."""
