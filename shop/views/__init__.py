"""What the shop's people look at: one file for each kind of question.

Every view is a pure fold of single events. Where a row depends on order ("latest", "last ten"), it is the order of the
business times with the id as the tie-breaker, never that of the log: orders travel on several lanes, and which of two
orders of one customer is recorded first is chance.
"""

from twofold.shop.views.catalogue import PRODUCTS
from twofold.shop.views.customers import CUSTOMER_ORDERS, RECENT_ORDERS
from twofold.shop.views.dashboard import CUSTOMER_DASHBOARD
from twofold.shop.views.fulfilments import FULFILMENTS
from twofold.shop.views.notifications import NOTIFICATIONS
from twofold.shop.views.orders import ORDERS
from twofold.shop.views.payments import PAYMENTS
from twofold.shop.views.products import INVENTORY, PRODUCT_SALES
from twofold.shop.views.profiles import CUSTOMERS
from twofold.shop.views.sales import SALES_BY_COUNTRY, SALES_BY_DAY, SALES_BY_HOUR
from twofold.shop.views.search import ORDER_SEARCH
from twofold.shop.views.shipping import SHIPPING
from twofold.shop.views.stock import STOCK_LEVELS

VIEWS = (
    ORDERS,
    ORDER_SEARCH,
    FULFILMENTS,
    SHIPPING,
    CUSTOMERS,
    CUSTOMER_ORDERS,
    RECENT_ORDERS,
    CUSTOMER_DASHBOARD,
    PAYMENTS,
    NOTIFICATIONS,
    PRODUCTS,
    STOCK_LEVELS,
    PRODUCT_SALES,
    INVENTORY,
    SALES_BY_HOUR,
    SALES_BY_DAY,
    SALES_BY_COUNTRY,
)

__all__ = ["VIEWS"]
