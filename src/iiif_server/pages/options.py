"""What operators can say about pages."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PagesOptions(BaseModel):
    """What people see in a browser."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    title: str = Field(default="Images", min_length=1, max_length=200)
    """What the pages are called, as the name of a collection."""
    gallery: bool = True
    """Whether `/` shows the types that everyone may see, and the folders of those on disk."""
    robots: Literal["front", "all", "none"] = "front"
    """What `/robots.txt` lets crawlers visit: the front page only, everything, or nothing."""
