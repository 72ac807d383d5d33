import json
from typing import Any

import pytest

from iiif_server.commands.warm.manifests import image_services, relative_to_bases

BASE = "https://images.example.org"

THREE: dict[str, Any] = {
    "type": "Manifest",
    "logo": [{"service": [{"id": "https://elsewhere.example.org/l", "type": "ImageService3"}]}],
    "items": [
        {
            "type": "Canvas",
            "items": [
                {
                    "items": [
                        {
                            "body": {
                                "type": "Choice",
                                "items": [
                                    {
                                        "service": [
                                            {
                                                "id": f"{BASE}/a:1",
                                                "type": "ImageService3",
                                                "service": [{"id": "x", "type": "AuthService"}],
                                            },
                                            {"@id": f"{BASE}/iiif/2/a:1", "@type": "ImageService2"},
                                        ]
                                    },
                                    {"service": {"id": f"{BASE}/a:2/", "type": "ImageService3"}},
                                ],
                            }
                        }
                    ]
                }
            ],
        }
    ],
}
TWO: dict[str, Any] = {
    "@type": "sc:Manifest",
    "sequences": [
        {
            "canvases": [
                {
                    "images": [
                        {
                            "resource": {
                                "service": {
                                    "@context": "http://iiif.io/api/image/2/context.json",
                                    "@id": f"{BASE}/iiif/2/a:1",
                                }
                            }
                        }
                    ]
                },
                {
                    "images": [
                        {
                            "resource": {
                                "service": {
                                    "@id": f"{BASE}/iiif/2/a:2/info.json",
                                    "profile": ["http://iiif.io/api/image/2/level2.json", {}],
                                }
                            }
                        }
                    ]
                },
            ]
        }
    ],
}


def test_services_are_found_in_both_versions_in_their_order() -> None:
    assert list(image_services(THREE)) == [
        "https://elsewhere.example.org/l",
        f"{BASE}/a:1",
        f"{BASE}/iiif/2/a:1",
        f"{BASE}/a:2",
    ]
    assert list(image_services(TWO)) == [f"{BASE}/iiif/2/a:1", f"{BASE}/iiif/2/a:2"]


@pytest.mark.parametrize(
    "document",
    [
        {"id": 5, "type": "ImageService3"},
        {"id": "x", "type": ["ImageService3"], "profile": {"a": 1}, "@context": [None]},
        {"id": "x", "profile": [[], 3, {"http://iiif.io/api/image/": 1}]},
        [[[]]],
        None,
    ],
)
def test_odd_documents_have_none(document: Any) -> None:
    assert not list(image_services(document))


def test_depth_is_no_problem() -> None:
    document: Any = {"id": "deep", "type": "ImageService3"}
    for _ in range(100_000):
        document = [document]
    assert list(image_services(document)) == ["deep"]


def test_a_lone_surrogate_is_no_part_of_a_uri() -> None:
    document = json.loads('{"id": "https://example.org/\\ud800", "type": "ImageService3"}')
    assert list(image_services(document)) == ["https://example.org/?"]


def test_only_services_of_this_server_are_taken_each_once() -> None:
    uris = [f"{BASE}/a:1", "http://images.example.org/a:1", f"{BASE}.evil/a:2", "a:3", f"{BASE}/b"]
    assert relative_to_bases(uris, [f"{BASE}/"]) == (["a:1", "b"], 2)
    assert relative_to_bases([f"{BASE}/iiif/a:1"], [f"{BASE}/iiif", BASE]) == (["a:1"], 0)
