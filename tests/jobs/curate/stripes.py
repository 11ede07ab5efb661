"""Made footage whose truth is known: stripes of a named colour, and everything else that lies in a bucket."""

from pathlib import Path

import numpy as np

from sora_core.media import encode_mp4, write_image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}


def stripes(colour: tuple[int, int, int], frames: int, size: tuple[int, int], speed: int = 2) -> np.ndarray:
    """Stripes of a colour and of half its brightness that move sideways: sharp, in motion, and of a known mean."""
    x = np.arange(size[1])
    bright = np.stack([((x + speed * t) // 8 % 2)[None].repeat(size[0], 0) for t in range(frames)])
    return (np.array(colour) * (0.5 + 0.5 * bright[..., None])).astype(np.uint8)


def write_footage(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Captioned clips of several colours, shapes and lengths among dark, short, wordless, broken and foreign files.

    Returns the status and reason that each file deserves.
    """
    verdicts: dict[str, tuple[str, str | None]] = {}
    lines = ["file,caption,licence"]
    for number, (name, colour) in enumerate(sorted(COLOURS.items())):
        for size in ((64, 64), (48, 80)):
            file = f"{name}-{size[0]}.mp4"
            encode_mp4(folder / file, stripes(colour, 9 + 8 * (number % 2), size), 8)
            lines.append(f"{file},{name} stripes,CC0-1.0")
            verdicts[file] = ("kept", None)
    write_image(folder / "red-photo.png", stripes(COLOURS["red"], 1, (64, 48))[0])
    encode_mp4(folder / "black.mp4", np.zeros((9, 64, 64, 3), np.uint8), 8)
    encode_mp4(folder / "wordless.mp4", stripes((200, 200, 90), 9, (64, 64)), 8)
    encode_mp4(folder / "short.mp4", stripes((90, 200, 200), 3, (64, 64)), 8)
    (folder / "broken.mp4").write_bytes((folder / "red-64.mp4").read_bytes()[:40])
    (folder / "empty.mp4").touch()
    (folder / "strange").write_bytes(b"no picture at all")
    (folder / "notes.md").write_text("# notes")
    lines += ["black.mp4,nothing,", "short.mp4,too short,", "red-photo.png,red stripes,CC0-1.0"]
    (folder / "captions.csv").write_text("\n".join(lines))
    return verdicts | {
        "red-photo.png": ("kept", None),
        "black.mp4": ("dropped", "too_dark"),
        "wordless.mp4": ("dropped", "no_caption"),
        "short.mp4": ("dropped", "too_short"),
        "broken.mp4": ("failed", "unreadable_container"),
        "empty.mp4": ("failed", "empty_file"),
        "strange": ("dropped", "not_media"),
        "notes.md": ("dropped", "not_media"),
        "captions.csv": ("dropped", "sidecar"),
    }
