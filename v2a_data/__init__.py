"""v2a_data: from label names to a grounded dataset for sound from silent video.

The command line is `v2a-data`; everything it does is also a function here. The tables
of a workspace come back as pandas frames from :mod:`v2a_data.tables`.
"""

__version__ = "0.1.0"
