"""`/v1/security`: who changed what, who may do what, what is encrypted."""

from __future__ import annotations

from fastapi import APIRouter

from aegis.api import security_columns
from aegis.api.state import KnownParameters

__all__ = ["router"]

router = APIRouter(prefix="/v1/security", tags=["security"], dependencies=[KnownParameters])
router.include_router(security_columns.router)
