"""What the example is made of: a layout with one stream more, a token that says how bright an image is."""

from dataclasses import replace

from visual_echoes.layout import get_layout
from visual_echoes.streams import Stream

BRIGHTNESS = Stream(name="brightness", source="image", shape=(1,), codes=8, detail=-1)
LAYOUT = replace(get_layout("digits"), name="bright-digits", extra_streams=(BRIGHTNESS,))
