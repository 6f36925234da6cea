"""Small real work on sound, so that a speech service's answer depends on the very bytes it was given."""

import array
import hashlib
import io
import math
import sys
import wave
from dataclasses import dataclass
from functools import cache

RATE = 16_000
"""Samples a second of the sound the probe makes: what Whisper works on."""

BYTES_PER_SECOND = 32_000
"""How other formats are cut into seconds: the byte rate of 16 kHz 16-bit mono sound."""


class NotAudioError(ValueError):
    """The bytes are not the sound this needs; the message is fit for an HTTP answer."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """16-bit samples, channels interleaved."""

    samples: "array.array[int]"
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.channels / self.rate


@cache
def tone(seconds: float, hertz: float) -> bytes:
    """A WAV file of a sine, 16 kHz, 16 bit, mono."""
    count = int(seconds * RATE)
    samples = array.array("h", (int(12_000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(count)))
    return write(Sound(samples=samples, rate=RATE, channels=1))


def read(data: bytes) -> Sound:
    """Parse a WAV file of 16-bit samples."""
    try:
        with wave.open(io.BytesIO(data)) as source:
            if source.getsampwidth() != 2:
                raise NotAudioError("only 16-bit samples are understood")
            samples = array.array("h", source.readframes(source.getnframes()))
            rate, channels = source.getframerate(), source.getnchannels()
    except (wave.Error, EOFError) as problem:
        raise NotAudioError(f"No audio stream in input: {problem}") from problem
    if sys.byteorder == "big":
        samples.byteswap()
    return Sound(samples=samples, rate=rate, channels=channels)


def write(sound: Sound) -> bytes:
    """Make a WAV file."""
    samples = sound.samples
    if sys.byteorder == "big":
        samples = array.array("h", samples)
        samples.byteswap()
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())
    return target.getvalue()


def pad(data: bytes, seconds: float) -> bytes:
    """The sound with silence in front."""
    sound = read(data)
    silence = array.array("h", bytes(2 * sound.channels * math.floor(seconds * sound.rate)))
    return write(Sound(samples=silence + sound.samples, rate=sound.rate, channels=sound.channels))


def mix(tracks: list[bytes], delays: list[float]) -> bytes:
    """The sum of several sounds of one rate and channel count, each delayed by so many seconds, clipped to 16 bit."""
    sounds = [read(pad(track, delay)) for track, delay in zip(tracks, delays, strict=True)]
    if len({(sound.rate, sound.channels) for sound in sounds}) != 1:
        raise NotAudioError("tracks of different sample rates or channel counts cannot be mixed")
    total = [0] * max(len(sound.samples) for sound in sounds)
    for sound in sounds:
        for index, sample in enumerate(sound.samples):
            total[index] += sample
    mixed = array.array("h", (max(-32_768, min(32_767, sample)) for sample in total))
    return write(Sound(samples=mixed, rate=sounds[0].rate, channels=sounds[0].channels))


def words(data: bytes) -> list[dict[str, str | float]]:
    """One "word" a second, named by the digest of that second's bytes, with start and end in seconds."""
    try:
        sound = read(data)
        raw, step = sound.samples.tobytes(), 2 * sound.channels * sound.rate
    except NotAudioError:
        raw, step = data, BYTES_PER_SECOND
    return [
        {
            "word": hashlib.sha256(raw[start : start + step]).hexdigest()[:12],
            "start": round(start / step, 2),
            "end": round(min(start + step, len(raw)) / step, 2),
        }
        for start in range(0, len(raw), step)
    ]


def speakers(data: bytes, offset: float = 0.0) -> list[dict[str, float | int]]:
    """Segments of two speakers, told apart by each second's digest; neighbours of one speaker are joined."""
    segments: list[dict[str, float | int]] = []
    for word in words(data):
        speaker = int(str(word["word"])[0], 16) % 2
        start, end = offset + float(word["start"]), offset + float(word["end"])
        if segments and segments[-1]["speaker"] == speaker:
            segments[-1]["end"] = end
        else:
            segments.append({"start": start, "end": end, "speaker": speaker})
    return segments
