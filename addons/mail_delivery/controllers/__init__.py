from . import mail_delivery
