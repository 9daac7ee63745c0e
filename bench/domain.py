"""The domain both sides run: the shop's order decider and its `orders` view alone, so that only the plumbing differs; that view
hears of payments, too, of which the bench has none.

The roof imports it by name (`TWOFOLD_DOMAIN=bench.domain`); the hand-made peer and the in-process rows import it directly.
"""

from twofold.shop.order import ORDER
from twofold.shop.payment import PAYMENT
from twofold.shop.views.orders import ORDERS

DECIDERS = (ORDER, PAYMENT)
VIEWS = (ORDERS,)
