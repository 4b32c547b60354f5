from . import controllers, models, wizard


def uninstall_hook(env):
    """
    Take the triggers off mail_alias: without the rest of the addon they would fail.
    """
    env["mail_delivery.change"]._remove()
