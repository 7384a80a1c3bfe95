"""Encryption of chosen columns, in the application: `encrypted_columns` says which.

Invariant: a value of an encrypted column decrypts only in its own row and column, by a key of the
ring; a trigger lets no clear one in. Which columns are encrypted is told by the database, so that
every process does the same. Surprise: what was clear before stays in free space of the table's
file, in the log and in backups until those are rewritten.
"""

from aegis.security.columns.service import Encryption
from aegis.security.columns.values import Columns, sealed_tables

__all__ = ["Columns", "Encryption", "sealed_tables"]
