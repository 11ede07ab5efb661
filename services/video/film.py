"""An edit as a job holds it: what is asked, the clips that it works on, and the room that the model had for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sora_core.edits import Edit, Interpolate, Plan, Room, from_json, plan_windows, to_json
from sora_core.shapes import Compression, Patch, PixelShape


@dataclass(frozen=True, slots=True)
class StoredClip:
    """Frames in storage, as `sora_core.media.write_film` keeps them."""

    uri: str
    shape: PixelShape


@dataclass(frozen=True, slots=True)
class Film:
    """``sound`` is where the samples of the whole film are stored, None for silence. In the end the film's rate grows
    by ``factor``.

    The room is that of the day when the job was accepted: another one would give other windows.
    """

    edit: Edit
    clips: tuple[StoredClip, ...]
    room: Room
    sound: str | None = None
    factor: int = 1

    def stages(self) -> tuple[Plan, ...]:
        """The film and its windows, then those that raise its rate; the same whenever they are asked."""
        first = plan_windows(self.edit, [clip.shape for clip in self.clips], self.room)
        if self.factor == 1:
            return (first,)
        return first, plan_windows(Interpolate(self.factor), [first.film], self.room)

    def to_json(self) -> dict[str, Any]:
        """As the job's parameters hold it; `from_json` inverts it."""
        room = asdict(self.room) | {"given": sorted(self.room.given)}
        clips = [asdict(clip) for clip in self.clips]
        edit = to_json(self.edit)
        return {"edit": edit, "clips": clips, "room": room, "sound": self.sound, "factor": self.factor}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Film":
        room = values["room"]
        return cls(
            edit=from_json(values["edit"]),
            clips=tuple(StoredClip(clip["uri"], PixelShape(**clip["shape"])) for clip in values["clips"]),
            room=Room(
                **room
                | {
                    "compression": Compression(**room["compression"]),
                    "patch": Patch(**room["patch"]),
                    "given": frozenset(room["given"]),
                }
            ),
            sound=values["sound"],
            factor=values.get("factor", 1),  # films from before it was offered have none
        )
