"""The transaction that an access is part of, as attributes that all its accesses have in common.

Source: contract 2.1 ("every access in a transaction carries txn.id, unit and unit.kind").
"""

from noclobber.access import AttributeValue
from noclobber.contract import Attr, UnitKind
from noclobber.otlp import Shared

__all__ = ["Within"]


class Within(Shared):
    """What accesses of one transaction say of it, as long as its isolation and open savepoint are the same.

    Attributes:
        txn, isolation, savepoint: as the contract has them; the last two empty where there is none.
    """

    __slots__ = ("isolation", "savepoint", "txn")

    def __init__(self, txn: str, isolation: str = "", savepoint: str = "") -> None:
        attributes: dict[str, AttributeValue] = {Attr.TXN_ID: txn, Attr.UNIT: txn, Attr.UNIT_KIND: UnitKind.TXN}
        if isolation:
            attributes[Attr.TXN_ISOLATION] = isolation
        if savepoint:
            attributes[Attr.TXN_SAVEPOINT] = savepoint
        super().__init__(attributes)
        self.txn, self.isolation, self.savepoint = txn, isolation, savepoint
