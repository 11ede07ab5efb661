"""A certificate authority for trying content credentials out: a root, and a leaf of the kind that C2PA demands."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CHAIN, KEY, ANCHORS = "chain.pem", "key.pem", "anchors.pem"


def write_test_certificates(folder: Path, organisation: str, days: int = 365, begin: datetime | None = None) -> None:
    """Leave ``chain.pem`` (leaf first), ``key.pem`` and ``anchors.pem`` (the root, for readers) in a folder, valid for
    so many days from now, or from another time."""
    begin = begin or datetime.now(UTC) - timedelta(minutes=5)
    valid = begin, begin + timedelta(days=days)
    folder.mkdir(parents=True, exist_ok=True)
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _name(organisation, "test root"), _name(organisation, "content credentials")
    root = _certificate(root_name, root_name, root_key.public_key(), root_key, valid, authority=True)
    leaf = _certificate(leaf_name, root_name, leaf_key.public_key(), root_key, valid, authority=False)
    (folder / CHAIN).write_bytes(_pem(leaf) + _pem(root))
    (folder / ANCHORS).write_bytes(_pem(root))
    path = folder / KEY
    path.touch(mode=0o600)
    path.write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _name(organisation: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation} {common}"),
        ]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime, datetime],
    *,
    authority: bool,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:  # C2PA's engine takes no leaf without this purpose
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
