"""The small synthetic world that several rooms share, and the recipe that it is curated with."""

from dataclasses import replace
from pathlib import Path

from v2a_data.synthetic.plan import Fault, VideoPlan
from v2a_data.synthetic.world import plan_world

LABELS = ("Airplane", "Drum")
RECIPE = str(Path(__file__).with_name("world.toml"))
# What the scorers without models can find: (video, kind, from, to).
PLANTED = ((2, "silence", 0.0, 5.5), (3, "voice", 0.0, 99.0), (6, "still", 0.0, 99.0), (7, "still", 4.5, 99.0))


def even(plan: VideoPlan) -> VideoPlan:
    """The same video with evenly spaced frames, picture and sound from time 0 on."""
    return replace(plan, form=replace(plan.form, variable=False, picture_start_s=0.0, sound_start_s=0.0))


def shared_plans() -> list[VideoPlan]:
    """12 videos of 10 to 13 s, every other one a drum, four with a fault."""
    plans = [even(plan) for plan in plan_world(0, 12, LABELS, 144, (10.2, 13.0))]
    for n, kind, start_s, stop_s in PLANTED:
        plans[n] = plans[n].with_faults(Fault(kind, start_s, min(stop_s, plans[n].duration_s)))
    return plans
