"""``corpus.json``: the corpus that a run was begun with, so that it goes on with no other one."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from hpcnas.core.corpus_identity import MEMBER, CorpusIdentity
from hpcnas.core.errors import RunError
from hpcnas.store.files import replacing

FORMAT = 1


def save(path: Path, identity: CorpusIdentity) -> None:
    fields = {
        "format": FORMAT,
        "classes": list(identity.class_names),
        "drawn": list(identity.drawn),
        "features": dict(identity.features),
        "root": identity.root,
        "recordings": identity.counts,
        "digests": identity.digests,
        "contents": {f"{name:016x}": digest for name, digest in identity.contents.items()},
        "members": base64.b64encode(identity.members.tobytes()).decode(),
    }
    with replacing(path) as part:
        part.write_text(json.dumps(fields, indent=1), encoding="utf-8")


def load(path: Path) -> CorpusIdentity:
    """Raises RunError if it is missing, damaged or of another format."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise RunError(f"{path}: has format {fields['format']}, not {FORMAT}; go on with the hpcnas that wrote it")
        identity = CorpusIdentity(
            class_names=tuple(fields["classes"]),
            drawn=tuple(fields["drawn"]),
            features=fields["features"],
            members=np.frombuffer(base64.b64decode(fields["members"], validate=True), MEMBER),
            root=str(fields["root"]),
            contents={int(name, 16): digest for name, digest in fields["contents"].items()},
        )
        if identity.digests != fields["digests"]:
            raise ValueError("its members are not those of its digests")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); removed, the run goes on with the data as it is") from error
    return identity
