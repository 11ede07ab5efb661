"""Content credentials (C2PA): a signed statement in a file of what made it, and reading such statements back.

The signature covers every byte of the file but itself, so it comes last: what is written later reads as tampering.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sora_core.errors import ConfigError, ProvenanceUnavailable

SOFT_BINDING = "org.sora-on-ray.pixel-mark.1"
_GENERATION = "org.sora-on-ray.generation"
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_GENERATED = _SOURCE + "trainedAlgorithmicMedia"
_COMPOSITE = _SOURCE + "compositeWithTrainedAlgorithmicMedia"
_NOT_WANTED = ("cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")
# Addresses in a file, of its credentials and of who answers for certificates, are a stranger's: none is asked.
_ALONE: dict[str, Any] = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_SIGNING = {"builder": {"thumbnail": {"enabled": False}}, "verify": _ALONE}

State = Literal["trusted", "valid", "invalid", "not_present"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file of ours says about itself. ``prompt`` is told by its hash alone; ``edited`` when somebody's pictures
    are part of it."""

    identity: str
    title: str
    model: str
    made_at: float
    generator: str
    version: str
    prompt: str
    mark: int | None = None
    edited: bool = False
    provider: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A file that another was made of; its own credentials, if it has any, are kept in the new ones."""

    path: Path
    media_type: str
    title: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What reading found. ``problems`` are C2PA's own codes; ``origin`` is what a file of ours says of itself."""

    state: State
    title: str | None = None
    issuer: str | None = None
    generator: str | None = None
    made_at: str | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    mark: int | None = None
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class CredentialSigner:
    """Signs files with a certificate chain (PEM, leaf first) and its key, or by a function that returns r || s of
    ES256 for bytes, such as one that asks a key management service.

    ConfigError when they can't be read, don't belong together, or have expired: at start-up, not at the first video.
    """

    def __init__(
        self, chain_pem: bytes, key: bytes | Callable[[bytes], bytes], time_authority: str | None = None
    ) -> None:
        leaf = check_certificates(chain_pem, None if callable(key) else key)
        self.expires_at = leaf.not_valid_after_utc.timestamp()
        try:
            self._signer = _signer(chain_pem, key, time_authority)
        except c2pa.C2paError as error:
            raise ConfigError(f"the certificate can't sign content credentials: {error}") from error
        self._context = c2pa.Context(c2pa.Settings.from_dict(_SIGNING))

    def sign(self, path: Path, media_type: str, origin: Origin, ingredients: Sequence[Ingredient] = ()) -> bytes:
        """Put signed credentials into a file, replacing it when they are whole; the manifest store's bytes.

        ProvenanceUnavailable when the signer can't be reached or refuses.
        """
        signed = path.with_name(path.name + ".signed")
        try:
            builder = c2pa.Builder(json.dumps(_manifest(origin, media_type, ingredients)), self._context)
            for index, ingredient in enumerate(ingredients):
                _add(builder, ingredient, index)
            with path.open("rb") as source, signed.open("w+b") as destination:
                manifest: bytes = builder.sign(self._signer, media_type, source, destination)
        except c2pa.C2paError as error:
            signed.unlink(missing_ok=True)
            raise ProvenanceUnavailable(f"{path.name} can't be signed: {error}") from error
        signed.replace(path)
        return manifest


def _signer(chain_pem: bytes, key: bytes | Callable[[bytes], bytes], time_authority: str | None) -> c2pa.Signer:
    if callable(key):
        return c2pa.Signer.from_callback(key, c2pa.C2paSigningAlg.ES256, chain_pem.decode(), time_authority)
    authority = time_authority.encode() if time_authority else None
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain_pem, private_key=key, ta_url=authority)
    return c2pa.Signer.from_info(info)


def check_certificates(chain_pem: bytes, key_pem: bytes | None) -> x509.Certificate:
    """The chain's leaf. ConfigError when chain and key can't be read, don't match, or aren't valid now; a key that
    lies elsewhere is None."""
    try:
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
        key = None if key_pem is None else load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, IndexError) as error:
        raise ConfigError(f"the certificates or the key can't be read ({error}); give PEM files, leaf first") from error
    if key is not None and key.public_key() != leaf.public_key():
        raise ConfigError("the private key isn't that of the chain's first certificate; give the leaf first")
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise ConfigError(
            f"the certificate is valid from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}, now is {now}: "
            "renew it; python -m services.video.admin certificates makes one for trying"
        )
    return leaf


def read_credentials(path: Path, media_type: str, anchors_pem: str | None = None) -> Credentials:
    """The credentials in a file: ``trusted`` when they lead to one of the anchors, ``valid`` when they only hold; those
    that lie elsewhere are not fetched, and not present."""
    settings: dict[str, Any] = {"verify": _ALONE | {"verify_trust": anchors_pem is not None}}
    if anchors_pem is not None:
        settings["trust"] = {"trust_anchors": anchors_pem}
    context = c2pa.Context(c2pa.Settings.from_dict(settings))
    try:
        with path.open("rb") as file:
            reader = c2pa.Reader(media_type, file, context=context)
            store, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(type(error)) + str(error):
            return Credentials("not_present")
        if "must fetch remote manifests" in str(error):
            return Credentials("not_present", problems=("its credentials lie elsewhere, and are not fetched",))
        return Credentials("invalid", problems=(str(error).splitlines()[0],))
    return _told(store, str(state or "Invalid"))


def media_type_of(path: Path) -> str | None:
    """The kind of a file by its first bytes; None for kinds that can't carry credentials."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:10] == b"qt" else "video/mp4"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(head[8:12])
    signatures = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((kind for signature, kind in signatures.items() if head.startswith(signature)), None)


def _manifest(origin: Origin, media_type: str, ingredients: Sequence[Ingredient]) -> dict[str, Any]:
    agent = {"name": origin.generator, "version": origin.version}
    if ingredients:
        labels = [f"source-{index}" for index in range(len(ingredients))]
        actions: list[dict[str, Any]] = [
            {"action": "c2pa.opened", "parameters": {"ingredientIds": labels[:1]}},
            *({"action": "c2pa.placed", "parameters": {"ingredientIds": [label]}} for label in labels[1:]),
            {"action": "c2pa.edited", "digitalSourceType": _COMPOSITE, "softwareAgent": agent},
        ]
    else:
        source = _COMPOSITE if origin.edited else _GENERATED
        actions = [{"action": "c2pa.created", "digitalSourceType": source, "softwareAgent": agent}]
    assertions: list[dict[str, Any]] = [
        {"label": _GENERATION, "data": _generation(origin)},
        {"label": "cawg.training-mining", "data": {"entries": {name: {"use": "notAllowed"} for name in _NOT_WANTED}}},
    ]
    if origin.mark is not None:
        actions.append({"action": "c2pa.watermarked.bound"})
        value = base64.b64encode(origin.mark.to_bytes(6, "big")).decode()
        binding = {"alg": SOFT_BINDING, "blocks": [{"scope": {}, "value": value}]}
        assertions.append({"label": "c2pa.soft-binding", "data": binding})
    return {
        "claim_generator_info": [agent],
        "title": origin.title,
        "format": media_type,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}, *assertions],
    }


def _generation(origin: Origin) -> dict[str, Any]:
    made_at = datetime.fromtimestamp(origin.made_at, UTC).isoformat(timespec="seconds")
    prompt = hashlib.sha256(origin.prompt.encode()).hexdigest()
    about = {"id": origin.identity, "model": origin.model, "made_at": made_at, "prompt_sha256": prompt}
    return about | ({"provider": origin.provider} if origin.provider else {}) | dict(origin.fields)


def _add(builder: c2pa.Builder, ingredient: Ingredient, index: int) -> None:
    label = f"source-{index}"
    relationship = "componentOf" if index else "parentOf"  # a file has one parent at most
    about = {"title": ingredient.title, "relationship": relationship, "label": label, "instance_id": label}
    with ingredient.path.open("rb") as file:
        builder.add_ingredient(json.dumps(about), ingredient.media_type, io.BytesIO(file.read()))


def _told(store: Mapping[str, Any], state: str) -> Credentials:
    """A manifest store as its reader prints it, in our words."""
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    assertions = {item["label"]: item["data"] for item in active.get("assertions", ())}
    signature = active.get("signature_info") or {}
    generator = (active.get("claim_generator_info") or [{}])[0]
    origin = assertions.get(_GENERATION, {})
    states: dict[str, State] = {"Trusted": "trusted", "Valid": "valid"}
    return Credentials(
        state=states.get(state, "invalid"),
        title=active.get("title"),
        issuer=signature.get("issuer"),
        generator=" ".join(filter(None, (generator.get("name"), generator.get("version")))) or None,
        made_at=origin.get("made_at") or signature.get("time"),
        origin=origin,
        mark=_bound_mark(assertions.get("c2pa.soft-binding", {})),
        ingredients=tuple(item.get("title", "") for item in active.get("ingredients", ())),
        problems=tuple(item["code"] for item in store.get("validation_status", ())),
    )


def _bound_mark(binding: Mapping[str, Any]) -> int | None:
    if binding.get("alg") != SOFT_BINDING:
        return None
    return int.from_bytes(base64.b64decode(binding["blocks"][0]["value"]), "big")
