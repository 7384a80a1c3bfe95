"""What keeps the database's doors shut, one package a subject."""
