"""
Makes ``odoo-mailer`` known to twistd.
"""

from twisted.application.service import ServiceMaker

mailer = ServiceMaker(
    "odoo-mailer",
    "mailer.tap",
    "Push mail for Odoo: Postfix lookups and LMTP delivery.",
    "odoo-mailer",
)
