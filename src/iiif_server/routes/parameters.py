"""Path parameters of the Image API: types, descriptions, and validation by the pure parsers."""

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, PlainValidator

from iiif_server.iiif.formats import Format, parse_format
from iiif_server.iiif.quality import Quality, parse_quality
from iiif_server.iiif.region import Region, parse_region
from iiif_server.iiif.request import ImageRequest
from iiif_server.iiif.rotation import Rotation, parse_rotation
from iiif_server.iiif.size import Size, parse_size
from iiif_server.iiif.versions import V2, V3

# Patterns for the OpenAPI document only: the parsers validate, with better messages.
_N = r"[1-9]\d{0,8}"
_D = r"\d{1,9}(\.\d{1,100})?(e-\d{1,2})?"
_SIZES = rf"{_N},|,{_N}|!?{_N},{_N}|pct:{_D}"


class ImageParameters(BaseModel):
    """Parameters of an image request; only `size` differs between the versions."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    region: Annotated[Region, PlainValidator(parse_region)]
    size: Size
    rotation: Annotated[Rotation, PlainValidator(parse_rotation)]
    quality: Annotated[Quality, PlainValidator(parse_quality)]
    format: Annotated[Format, PlainValidator(parse_format)]

    @property
    def request(self) -> ImageRequest:
        """Image request with these parameters."""
        return ImageRequest(self.region, self.size, self.rotation, self.quality, self.format)


class ImageParametersV3(ImageParameters):
    """Parameters of Image API 3.0."""

    size: Annotated[Size, PlainValidator(lambda text: parse_size(text, V3))]


class ImageParametersV2(ImageParameters):
    """Parameters of Image API 2.1."""

    size: Annotated[Size, PlainValidator(lambda text: parse_size(text, V2))]


IdentifierPath = Annotated[
    str,
    Path(
        description="`type:name`, percent-encoded; slashes in the name may stand as they are",
        examples=["sample:atlas.jpg"],
    ),
]


async def identifier_path(identifier: IdentifierPath) -> str:
    """Dependency that documents the identifier; the edge parses it from the raw path."""
    return identifier


RegionPath = Annotated[
    str,
    Path(
        description="`full`, `square`, `x,y,w,h` in pixels or `pct:x,y,w,h` in percent",
        json_schema_extra={
            "pattern": rf"^(full|square|{_N},{_N},{_N},{_N}|pct:{_D},{_D},{_D},{_D})$"
        },
        examples=["full", "square", "1024,1024,512,512", "pct:25,25,50,50"],
    ),
]
SizePathV3 = Annotated[
    str,
    Path(
        description=(
            "`max`, `w,`, `,h`, `pct:n`, `w,h` or `!w,h`; with `^` before it, also upscaled"
        ),
        json_schema_extra={"pattern": rf"^\^?(max|{_SIZES})$"},
        examples=["max", "400,", "!512,512", "^2000,", "pct:50"],
    ),
]
SizePathV2 = Annotated[
    str,
    Path(
        description="`full`, `max`, `w,`, `,h`, `pct:n`, `w,h` or `!w,h`",
        json_schema_extra={"pattern": rf"^(full|max|{_SIZES})$"},
        examples=["full", "400,", "!512,512", "pct:50"],
    ),
]
RotationPath = Annotated[
    str,
    Path(
        description="degrees clockwise, 0 to 360; with `!` before them, mirrored first",
        json_schema_extra={"pattern": rf"^!?{_D}$"},
        examples=["0", "90", "!0", "22.5"],
    ),
]
QualityPath = Annotated[
    str,
    Path(
        description="colours of the image",
        json_schema_extra={"enum": list(Quality)},
        examples=list(Quality),
    ),
]
FormatPath = Annotated[
    str,
    Path(
        description="output format",
        json_schema_extra={"enum": list(Format)},
        examples=list(Format),
    ),
]


async def parameters_v3(
    region: RegionPath,
    size: SizePathV3,
    rotation: RotationPath,
    quality: QualityPath,
    format: FormatPath,  # noqa: A002 - the specification's word
) -> ImageRequest:
    """Image request in the path parameters of Image API 3.0."""
    return ImageParametersV3.model_validate(
        {
            "region": region,
            "size": size,
            "rotation": rotation,
            "quality": quality,
            "format": format,
        }
    ).request


async def parameters_v2(
    region: RegionPath,
    size: SizePathV2,
    rotation: RotationPath,
    quality: QualityPath,
    format: FormatPath,  # noqa: A002 - the specification's word
) -> ImageRequest:
    """Image request in the path parameters of Image API 2.1."""
    return ImageParametersV2.model_validate(
        {
            "region": region,
            "size": size,
            "rotation": rotation,
            "quality": quality,
            "format": format,
        }
    ).request
