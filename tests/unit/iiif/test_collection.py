from iiif_server.iiif.collection import Reference, collection, part_references
from support.presentation import parse_with_prezi

ID = "https://images.example.org/specimens/collection.json"


def test_a_folder_names_what_is_in_it_and_what_it_is_in() -> None:
    items = [
        Reference("https://images.example.org/specimens:a/collection.json", "Collection", "a"),
        Reference("https://images.example.org/specimens:1.jpg/manifest.json", "Manifest", "1.jpg"),
    ]
    above = Reference("https://images.example.org/collection.json", "Collection", "Images")
    document = collection(ID, "specimens", items, above, "Some are not shown.")
    parse_with_prezi(document)
    assert [item["type"] for item in document["items"]] == ["Collection", "Manifest"]
    assert document["partOf"] == [above.document]
    assert document["summary"] == {"en": ["Some are not shown."]}


def test_an_empty_folder_is_a_collection_too() -> None:
    parse_with_prezi(collection(ID, "specimens", []))


def test_parts_cover_all_of_a_large_folder() -> None:
    found = part_references(ID, "specimens", 3, 500, 1001)
    assert [part.id for part in found] == [f"{ID}?page={number}" for number in (1, 2, 3)]
    assert [part.label for part in found] == [
        "specimens: 1 to 500 of 1001",
        "specimens: 501 to 1000 of 1001",
        "specimens: 1001 to 1001 of 1001",
    ]
