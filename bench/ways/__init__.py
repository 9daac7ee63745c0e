"""The same question, three ways: the shop's stock of a product, switched between inline, asynchronous and live by one word."""

from __future__ import annotations

from dataclasses import replace

from twofold.kernel.view import AnyView, Synchronisation
from twofold.shop.views.stock import STOCK_LEVELS


def kept(sync: Synchronisation) -> tuple[AnyView]:
    return (replace(STOCK_LEVELS, sync=sync),)
