"""The synthetic world: rendered videos in which picture and sound come from one physical state.

Real files with known truth, for the demo, the tests and the benchmarks. Results on it are called
synthetic, always.
"""

from v2a_data.registry import Registry

WORLD_VERSION = 2

SUBJECTS = Registry(
    "synthetic label",
    {
        "Airplane": "v2a_data.synthetic.subjects.airplane:Airplane",
        "Drum": "v2a_data.synthetic.subjects.drum:Drum",
    },
)
