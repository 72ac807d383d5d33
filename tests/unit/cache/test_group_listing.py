"""Listings of groups of entries: lookups, and size in memory."""

from hashlib import blake2b

from iiif_server.cache.group_listing import GroupListing


def digest(number: int) -> str:
    return blake2b(b"%d" % number, digest_size=16).hexdigest()


def name(number: int, length: int = 1000, suffix: str = "jpg") -> str:
    return f"{digest(number)}.{length}.{number:08x}.{suffix}"


def test_all_of_many_names_are_found() -> None:
    names = [name(number) for number in range(10_000)]
    listing = GroupListing(names)
    assert len(listing) == 10_000
    assert all(listing.name(one[:32]) == one for one in names)
    assert listing.name(digest(10_000)) is None
    assert listing.weight < 37 * 10_000


def test_any_length_and_suffix_comes_back() -> None:
    names = [
        name(0, 0, "a"),
        name(1, 999_999_999_999_999, "jpegjpeg"),
        f"{'0' * 32}.1.ffffffff.szi",
        f"{'f' * 32}.1.00000000.png",
    ]
    listing = GroupListing(names)
    assert [listing.name(one[:32]) for one in names] == names


def test_what_is_no_entry_is_left_out() -> None:
    assert len(GroupListing(["", "a.jpg", f"{digest(1)}.jpg", name(1)])) == 1


def test_names_are_added_replaced_and_removed() -> None:
    listing = GroupListing()
    assert listing.name(digest(1)) is None
    for number in range(50):
        listing.add(name(number))
    listing.add(name(7, 7))
    listing.remove(digest(8))
    listing.remove(digest(99))
    assert len(listing) == 49
    found = [listing.name(digest(number)) for number in range(50)]
    expected = [name(number) for number in range(50)]
    assert found == [*expected[:7], name(7, 7), None, *expected[9:]]
