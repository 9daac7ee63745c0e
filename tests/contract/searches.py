"""A view to be searched, and rows of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from tests.contract.viewstores import NOON, Counted, counted_keys
from twofold.kernel.view import About, View


class Article(msgspec.Struct, frozen=True):
    sku: str
    title: str
    body: str | None = None
    colour: str | None = None
    is_sold: bool = False
    price: int = 0
    made_at: datetime | None = None


def evolve_article(row: Article | None, event: Counted, about: About) -> Article | None:
    """A negative amount takes it away."""
    if event.amount < 0:
        return None
    return Article(about.key, f"article {about.key}", price=(row.price if row else 0) + event.amount)


ARTICLES = View(
    name="articles",
    key="sku",
    row=Article,
    on=(Counted,),
    keys=counted_keys,
    evolve=evolve_article,
    indexes=("colour", "is_sold"),
    orders=("price", "made_at"),
    store="search",
    text=("title", "body"),
)

TITLES = (
    ("a1", "White hanging heart T-light holder", "A heart of wood, for the T-light that hangs"),
    ("a2", "White metal lantern", "Metal. With a door of glass"),
    ("a3", "Cream cupid hearts coat hanger", None),
    ("a4", "Knitted union flag hot water bottle", "Flag of wool"),
    ("a5", "Red woolly hottie white heart", "heart heart heart"),
    ("a6", "Crème-brûlée set, 7.5 cm", "Österreich <b>& more</b>, Straße"),
    ("a7", "\u5546\u54c1 \u0391\u03b8\u03ae\u03bd\u03b1 lamp", "x" * 300),
    ("a8", "O'Neill \"quoted\" 'text' (50% off) !", "SELECT * FROM t; --"),
)
ROWS = {
    sku: Article(
        sku,
        title,
        body,
        colour=(None, "white", "red")[number % 3],
        is_sold=number % 2 == 0,
        price=number * 10,
        made_at=None if number == 3 else NOON + timedelta(days=number),
    )
    for number, (sku, title, body) in enumerate(TITLES)
}
