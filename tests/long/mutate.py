"""Damage: what disks, editors and enemies do to files."""

import random

ODD = [
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\n",
        b"\r",
        b'"',
        b"'",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"$",
        b"${x}",
        b"\\",
    ),
    *(
        b"NaN",
        b"Infinity",
        b"-0",
        b"1e400",
        b"9" * 400,
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"[" * 3000,
        b"- ",
        b"&a ",
        b"*a",
    ),
    *(
        b"!!python/object/apply:os.system ",
        b"${oc.env:HOME}",
        b"__import__('os')",
        b"<script>",
        b"../../",
        b"{history}",
    ),
]


def damaged(content: bytes, random_: random.Random, most: int = 3) -> bytes:
    """Return content after one to `most` blows: a flipped bit, a cut, a lost, doubled or random slice, an odd word."""
    for _ in range(random_.randint(1, most)):
        place = random_.randrange(len(content) + 1)
        end = min(len(content), place + random_.randint(1, 40))
        blow = random_.randrange(6)
        if blow == 0 and place < len(content):
            content = content[:place] + bytes([content[place] ^ 1 << random_.randrange(8)]) + content[place + 1 :]
        elif blow == 1:
            content = content[:place]
        elif blow == 2:
            content = content[:place] + content[end:]
        elif blow == 3:
            content = content[:end] + content[place:]
        elif blow == 4:
            content = content[:place] + random_.randbytes(end - place) + content[end:]
        else:
            content = content[:place] + random_.choice(ODD) + content[place:]
    return content
