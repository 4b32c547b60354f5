from . import (
    ir_config_parameter,
    mail_alias,
    mail_alias_domain,
    mail_delivery_change,
    mail_delivery_list,
    mail_delivery_mailer,
    mail_delivery_message_id,
    mail_delivery_receipt,
    mail_thread,
    res_config_settings,
)
