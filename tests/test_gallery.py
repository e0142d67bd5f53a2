"""The script that makes the documentation's pictures: where it writes them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.figure import Figure
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "docs" / "gallery.py"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gallery__writes_to_the_folder_asked_for(gallery, tmp_path):
    out = gallery.folder(["--out", str(tmp_path / "pictures" / "new")])
    assert out == tmp_path / "pictures" / "new"
    gallery.write(out, Figure(figsize=(2, 1), dpi=50), "empty")
    assert [path.name for path in out.iterdir()] == ["empty.png"]
    with Image.open(out / "empty.png") as picture:
        assert picture.size == (100, 50)


def test_gallery__writes_to_the_images_of_the_documentation_by_default(gallery):
    assert gallery.folder([]) == SCRIPT.parent / "images"
