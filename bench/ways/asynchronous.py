"""The stock of a product, folded behind the log."""

from bench.ways import kept
from twofold.shop.stock import STOCK

DECIDERS, VIEWS = (STOCK,), kept("async")
