"""The shop: orders, returns, stock, products, payments and customers of an online gift shop, and the views its people look at.

A domain module (`TWOFOLD_DOMAIN=shop`). Money is in integer minor units; times are UTC. Sums over several orders add
minor units as they are: the shop sells in one currency, and a second one would need views keyed by currency.
"""

from twofold.shop.customer import CUSTOMER
from twofold.shop.effects import EFFECTS
from twofold.shop.fulfilment import FULFILMENT
from twofold.shop.notification import NOTIFICATION
from twofold.shop.notifying import NOTIFYING
from twofold.shop.order import ORDER
from twofold.shop.payment import PAYMENT
from twofold.shop.product import PRODUCT
from twofold.shop.returns import RETURN
from twofold.shop.stock import STOCK
from twofold.shop.views import VIEWS

DECIDERS = (ORDER, RETURN, STOCK, PRODUCT, PAYMENT, CUSTOMER, NOTIFICATION)

PROCESSES = (FULFILMENT, NOTIFYING)

__all__ = ["DECIDERS", "EFFECTS", "PROCESSES", "VIEWS"]
