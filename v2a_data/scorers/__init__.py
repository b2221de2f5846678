"""Scorers: each measures something of every window and decides nothing. One file and one row each."""

from v2a_data.registry import Registry

SCORERS = Registry(
    "scorer",
    {
        "audio_tags": "v2a_data.scorers.audio_tags:AudioTags",
        "audio_text": "v2a_data.scorers.audio_text:AudioText",
        "av_embed": "v2a_data.scorers.av_embed:AvEmbed",
        "av_sync": "v2a_data.scorers.av_sync:AvSync",
        "clip_topic": "v2a_data.scorers.clip_topic:ClipTopic",
        "listed_heard": "v2a_data.scorers.listed_heard:ListedHeard",
        "loudness": "v2a_data.scorers.loudness:Loudness",
        "motion": "v2a_data.scorers.motion:Motion",
        "speech": "v2a_data.scorers.speech:Speech",
        "title_words": "v2a_data.scorers.title_words:TitleWords",
        "together": "v2a_data.scorers.together:Together",
    },
)
