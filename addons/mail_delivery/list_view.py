"""
Lists, which are called <tree> in Odoo 17 and <list> from 18 on.
"""


def list_arch(version, attributes, content):
    """
    Return the arch of a list view.

    :param version: Odoo's, such as "18.0"
    """
    tag = "tree" if version == "17.0" else "list"
    return f"<{tag} {attributes}>{content}</{tag}>"
