"""Stripe: what it has to be told, in an outbox, and what it tells, each event once.

The package `stripe` is loaded where a call is made, and nowhere else.
"""
