"""Backups that are proven: made, verified, kept, sent elsewhere.

Owns the folder of backups, which is the catalogue, and the tables `backups` and `backup_drills`,
which mirror it for whoever asks in SQL. Invariant: what the catalogue lists is whole, and says
itself whether that was verified; a crash at any moment leaves at most a hidden folder that the
next run removes.
"""
