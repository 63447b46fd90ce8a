"""Reading and writing as before while the data moves: Cosmos DB first, then the archive.

The business puts a TieredContainer where its ContainerProxy was; nothing of Ebb's app needs this.
"""

from shared.tiered.aio import AsyncTieredContainer
from shared.tiered.cold import ColdStore
from shared.tiered.container import TieredContainer

__all__ = ["AsyncTieredContainer", "ColdStore", "TieredContainer"]
