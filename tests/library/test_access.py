from typing import cast

from sqlalchemy import Connection

from tuningfork.library.access import Access, OpenAccess


def test_in_a_library_of_one_person_everything_is_allowed() -> None:
    access: Access = OpenAccess()
    access.check(cast(Connection, None), "anybody", "administer", "shop/tickets")
