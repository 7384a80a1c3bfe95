"""Roles of the server, each with the least that its commands need, and logins of tenants.

Owns `security_roles` and `security_tenants`. One description (`description.py`) says what each role
may do; `aegis security apply` makes the server so, `aegis security check` says where it is not.

Invariant: a right that the description does not name is taken away, one that it names is given; a
second `apply` finds nothing to do. A table of which the description does not speak is given to
nobody, and a test fails until it is.

Surprise: who a tenant is, is looked up by `session_user`, which no SET and no SET ROLE changes.
"""
