"""Captions of the synthetic world, prompts of recipes, and the AudioSet class of each label."""

from v2a_data.derive import off_prompts, on_prompts
from v2a_data.synthetic import SUBJECTS

LABELS = tuple(SUBJECTS)

# AudioSet has no "Water flowing": Stream is the nearest that a recipe for Water (its parent) also covers.
CLASSES = {
    "Airplane": "/m/0cmf2",
    "Baby crying": "/t/dd00002",
    "Human snoring": "/m/01d3sd",
    "Dog": "/m/0bt9lr",
    "Water flowing": "/m/0j6m2",
    "Fireworks": "/m/0g6b5",
    "Rail transport": "/m/06d_3",
    "Printers": "/m/01m4t",
    "Drum": "/m/026t6",
    "Helicopter": "/m/09ct_",
    "Chainsaw": "/m/01j4z9",
}
# Music of its own under the class "Background music": a bed. "Music" is an ancestor of the label Drum.
SPEECH, MUSIC = "/m/09x0r", "/m/025td0t"

# Never in training: their figures say what the models do with what they were not shown.
HELD_OUT_THING, HELD_OUT_SOUND = "toy", "clipping"

_MORE = {
    "Airplane": (
        "airplane", "a plane", "a jet taking off", "a propeller plane in flight",
        "an airliner landing on a runway", "the view of a wing from an airplane window",
    ),
    "Baby crying": ("baby crying", "a crying baby", "a baby that cries"),
    "Human snoring": ("human snoring", "a person snoring", "somebody asleep in a bed", "a sleeping person"),
    "Dog": ("dog", "a barking dog", "a dog barking"),
    "Water flowing": ("water flowing", "flowing water", "water running from a tap", "a tap that runs into a basin"),
    "Fireworks": ("firework", "fireworks in the sky", "a firework bursting", "rockets that burst into sparks"),
    "Rail transport": ("rail transport", "a locomotive on rails", "a railway", "a tram on its track"),
    "Printers": ("printer", "a printer", "a printer printing a page", "paper coming out of a printer"),
    "Drum": ("drum", "a snare drum", "drumsticks hitting a drum", "somebody playing a drum"),
    "Helicopter": ("helicopter", "a helicopter in flight", "a hovering helicopter"),
    "Chainsaw": ("chainsaw", "a chain saw", "a chainsaw cutting a log", "sawing a log with a chainsaw"),
}  # fmt: skip
ON = {label: tuple(dict.fromkeys([*on_prompts(label), *_MORE[label]])) for label in LABELS}

# What is shown instead of the thing; "" is a scene without it.
OFF = {
    "paper_plane": ("a paper plane", "a paper airplane", "a folded sheet of paper", "hands folding a sheet of paper"),
    "poster": ("a poster", "a printed picture", "a print held up by two hands", "a drawing or cartoon"),
    "person_talking": ("a person talking to the camera", "a person talking", "a news studio"),
    "slide": ("a slide with text", "a slide", "a lecture slide"),
    "title_card": ("a title card with a logo", "a title card", "a title on a plain ground"),
    "": ("an empty scene", "an empty room", "an empty sky", "a wall", "nothing in particular"),
}

# Recipes name these too, and no rendered frame shows them: they are only ever wrong.
_AIRPLANE_OFF = (
    "a toy or model airplane in someone's hands", "a radio-controlled airplane on a table", "a car",
)  # fmt: skip
_NEVER = (
    "a toy",
    "a model",
    "a toy held in a hand",
    "a photo",
    "a building",
    "a landscape",
    "food",
    "a computer screen",
)
NEVER = tuple(
    dict.fromkeys(
        prompt
        for prompt in (*_NEVER, *_AIRPLANE_OFF, *(p for label in LABELS for p in off_prompts(label)))
        if not any(prompt in phrases for phrases in (*OFF.values(), *ON.values()))
    )
)
