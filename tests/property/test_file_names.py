"""File names of downloads, for any identifier."""

import re
import unicodedata
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from iiif_server.plan.original_format import OriginalFormat
from iiif_server.server.file_names import content_disposition, name_of_original

_FIELD = re.compile(
    r"attachment; filename=\"[ !#$&'()+,\-.0-9=@A-Z\[\]^_`a-z{}~]+\""
    r"(; filename\*=UTF-8''([A-Za-z0-9_.~-]|%[0-9A-F]{2})+)?",
    re.ASCII,
)


@given(st.text(max_size=400))
def test_content_disposition_of_any_name_is_one_field_and_one_file(name: str) -> None:
    made = name_of_original(name, OriginalFormat.TIFF)
    assert 5 <= len(made.encode()) <= 255
    assert not set(made) & set('/\\:*?"<>|%;')
    assert not any(unicodedata.category(character)[0] == "C" for character in made)
    assert made[0] not in ".- "
    value = content_disposition(made, attachment=True)
    assert _FIELD.fullmatch(value), value
    if "filename*" in value:
        assert unquote(value.rpartition("''")[2]) == made
