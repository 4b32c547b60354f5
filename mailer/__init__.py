"""
odoo-mailer: push mail for Odoo.

Postfix asks which addresses are Odoo's (socketmap), hands their mail over
(LMTP), and gets Odoo's own verdict for each recipient.
"""

__version__ = "0.1.0"
