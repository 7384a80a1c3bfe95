"""SQLAlchemy Core metadata."""

from sqlalchemy import MetaData

metadata = MetaData()
