"""The finished archive of the unit tests, for whoever reads from one."""

from tests.unit.conftest import archived

__all__ = ["archived"]
