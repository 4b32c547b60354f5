{
    "name": "Mail Delivery",
    "summary": "Push mail from Postfix into Odoo, with a verdict for each recipient",
    # No series in front: one source for Odoo 17, 18 and 19, which all accept it so.
    "version": "1.0.0",
    "category": "Productivity/Discuss",
    "website": "https://github.com/odoo-mailer/odoo-mailer",
    "author": "odoo-mailer, Odoo Community Association (OCA)",
    "license": "LGPL-3",
    "depends": ["mail"],
    "data": [
        "security/ir.model.access.csv",
        "views/mail_delivery_receipt_views.xml",
        "views/mail_delivery_mailer_views.xml",
        "wizard/mail_delivery_token_views.xml",
        "views/res_config_settings_views.xml",
    ],
    "uninstall_hook": "uninstall_hook",
    "images": ["static/description/settings.png"],
}
