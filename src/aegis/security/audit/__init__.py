"""The audit log: who changed what through Aegis.

Owns `audit_log`, `audit_head`, `audit_seals` and `audit_verifications`. Invariant: a change that is
logged and its row are committed together, or neither is; rows are numbered without a gap, each
holds the hash of the one before, and each is signed with a secret that the database does not know.

Surprise: appending waits for whoever appends at the same time, until that one has committed. So a
change notes what it did (`note`), and the row is written as the last thing of its transaction
(`audited`): whoever holds the head waits for nobody. What a row must not hold is contents: ids,
numbers and fixed words stay, of a name or a text that somebody wrote there is a keyed digest
(`Private`), so that the log need not forget what had to be forgotten.

This module imports nothing: hooks and commands that change nothing pass by here.
"""
