from . import mail_delivery_token
