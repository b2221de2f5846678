"""The synthetic world: rendered videos in which picture and sound come from one physical state.

Real files with known truth, for the demo, the tests and the benchmarks. Results on it are called
synthetic, always.
"""

from v2a_data.registry import Registry

WORLD_VERSION = 4

SUBJECTS = Registry(
    "synthetic label",
    {
        "Airplane": "v2a_data.synthetic.subjects.airplane:Airplane",
        "Baby crying": "v2a_data.synthetic.subjects.baby_crying:BabyCrying",
        "Human snoring": "v2a_data.synthetic.subjects.human_snoring:HumanSnoring",
        "Dog": "v2a_data.synthetic.subjects.dog:Dog",
        "Water flowing": "v2a_data.synthetic.subjects.water_flowing:WaterFlowing",
        "Fireworks": "v2a_data.synthetic.subjects.fireworks:Fireworks",
        "Rail transport": "v2a_data.synthetic.subjects.rail_transport:RailTransport",
        "Printers": "v2a_data.synthetic.subjects.printers:Printers",
        "Drum": "v2a_data.synthetic.subjects.drum:Drum",
        "Helicopter": "v2a_data.synthetic.subjects.helicopter:Helicopter",
        "Chainsaw": "v2a_data.synthetic.subjects.chainsaw:Chainsaw",
    },
)
