"""Operations on the database as a whole; SQL here is about the server, not about a domain."""
