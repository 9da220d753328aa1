"""What the tests of wrong words and faults share: a small scene, and what a good refusal looks like."""

from __future__ import annotations

from pathlib import Path

SCENE = "camera { location -5*z }\nlight_source { -9 1 }\nsphere { 0, 1 pigment { rgb 1 } }\n"
SMALL = ("-o", "width=64", "-o", "height=48")


def scene(folder: Path, text: str = SCENE, name: str = "scene.pov", **more: str) -> Path:
    """A folder with one scene; ``more`` are further files, ``task_toml="…"``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    for key, content in more.items():
        (folder / key.replace("_", ".")).write_text(content)
    return folder


def one_sentence(done, code, *words):
    """The command ended with this code and one line on stderr: a sentence with these words, and no traceback."""
    said = done.stderr.strip()
    assert done.returncode == code, (done.returncode, done.stdout, said)
    assert len(said.splitlines()) == 1, said
    sentence = said.removeprefix("clusterray: ")
    assert sentence[0].isupper() or not sentence[0].isalpha() or sentence.startswith(words[0]), said
    assert sentence.endswith((".", "?")), said
    for word in words:
        assert str(word) in sentence, (word, said)
    return sentence


def processes(mark: Path) -> list[str]:
    """Command lines of all processes whose environment names this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(mark).encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has just ended, or belongs to somebody else
                continue
    return found
