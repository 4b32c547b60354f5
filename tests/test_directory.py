"""
Tests for mailer.directory.
"""

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList

INFO = AliasList(transport={"info@example.com": ""})
SALES = AliasList(transport={"sales@example.com": ""})


def test_table_is_made_of_all_lists(fakes):
    """
    An address of any server is found in the one table.
    """
    directory = fakes.make_directory(ServerList("a", INFO), ServerList("b", SALES))
    assert directory.table.find("info@example.com")[1].server == "a"
    assert directory.table.find("sales@example.com")[1].server == "b"


def test_lists_keep_their_order_of_precedence(fakes):
    """
    A list that was published anew keeps its place among the servers.
    """
    directory = fakes.make_directory(ServerList("a", INFO), ServerList("b", INFO))
    successor = ServerList("a", SALES)
    directory.publish(successor, directory.merged_with(successor))
    assert ["a", "b"] == [server_list.server for server_list in directory.lists]
    assert successor is directory["a"]


def test_merging_changes_nothing(fakes):
    """
    The table to come is made beside the one in force, which stays until it is published.
    """
    directory = fakes.make_directory(ServerList("a", INFO))
    before = directory.table
    table = directory.merged_with(ServerList("a", SALES))
    assert before is directory.table
    assert INFO is directory["a"].declared
    assert table.find("info@example.com") is None


def test_publishing_replaces_list_and_table(fakes):
    """
    After publish both the list and the table are the new ones, and the other server is kept.
    """
    directory = fakes.make_directory(ServerList("a", INFO), ServerList("b", None))
    successor = ServerList("b", SALES)
    directory.publish(successor, directory.merged_with(successor))
    assert directory.table.find("info@example.com") is not None
    assert directory.table.find("sales@example.com") is not None
    assert () == directory.table.missing


def test_confirming_changes_the_age_alone(fakes):
    """
    A list that is still right has a new time, the same content, and the same table.
    """
    directory = fakes.make_directory(ServerList("a", INFO, loaded_at=1.0))
    table = directory.table
    directory.confirm("a", 2.0)
    assert ServerList("a", INFO, loaded_at=2.0) == directory["a"]
    assert table is directory.table
