"""The stock of a product, folded in the transaction that appends."""

from bench.ways import kept
from twofold.shop.stock import STOCK

DECIDERS, VIEWS = (STOCK,), kept("inline")
