"""What the shop's people look at: one file for each kind of question.

Every view is a pure fold of single events. Where a row depends on order ("latest", "last ten"), it is the order of the
business times with the id as the tie-breaker, never that of the log: orders travel on several lanes, and which of two
orders of one customer is recorded first is chance.
"""

from twofold.shop.views.customers import CUSTOMER_ORDERS, RECENT_ORDERS
from twofold.shop.views.notifications import NOTIFICATIONS
from twofold.shop.views.orders import ORDERS
from twofold.shop.views.products import INVENTORY, PRODUCT_SALES
from twofold.shop.views.sales import SALES_BY_COUNTRY, SALES_BY_DAY

VIEWS = (ORDERS, CUSTOMER_ORDERS, RECENT_ORDERS, PRODUCT_SALES, INVENTORY, SALES_BY_DAY, SALES_BY_COUNTRY, NOTIFICATIONS)

__all__ = ["VIEWS"]
