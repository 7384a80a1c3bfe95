"""What keeps the database from those who should not: roles, the audit log, encrypted columns.

The parts do not know one another; each is imported by itself.
"""
