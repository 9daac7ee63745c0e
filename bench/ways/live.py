"""The stock of a product, folded when it is asked for."""

from bench.ways import kept
from twofold.shop.stock import STOCK

DECIDERS, VIEWS = (STOCK,), kept("live")
