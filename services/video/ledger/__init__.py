"""What was promised to clients and how far it is: rows in a database that outlives every process."""

from services.video.ledger import account_tables
from services.video.ledger.ledger import Ledger

__all__ = ["Ledger", "account_tables"]
