"""
What needs no Odoo: pure rules, and the webhook call in the background.
"""
