"""`/v1/security`: who may do what."""

from __future__ import annotations

from fastapi import APIRouter

from aegis.api import security_roles

__all__ = ["router"]

router = APIRouter()
router.include_router(security_roles.router)
