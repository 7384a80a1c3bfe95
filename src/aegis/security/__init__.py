"""Doors that are shut: who may do what in the database."""
