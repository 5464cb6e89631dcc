"""What programs are called with their version: ``2.9.1+cu128``, ``tokenizers-0.22.1``, wheels, shared libraries."""

from __future__ import annotations

import re

from unfrag.doctor.allowed import vocabulary

_LOCAL = r"\+(?:cu(?:da)?\d{1,3}(?:\.\d)?|rocm[\d.]{1,8}|cpu|xpu|torch[\d.]{1,6}|cxx11abi(?:TRUE|FALSE)|g(?:it)?[0-9a-f]{6,12}|d\d{8}|precompiled|\.){1,6}"
_NUMBERS = r"v?\d{1,4}(?:\.\d{1,4}){1,2}"
_VERSION = rf"{_NUMBERS}(?:[.-]?(?:rc|post|dev|a|b|cu|rocm|cpu)\d{{0,8}}){{0,4}}(?:{_LOCAL}|\+[0-9a-f]{{6,12}})?"
_MACHINE = r"(?:x86_64|aarch64|arm64|amd64|ppc64le)"
_WHEEL = (
    r"-(?:cp|py)\d{1,3}(?:\.(?:cp|py)\d{1,3}){0,3}-(?:cp\d{1,3}t?|abi3|none)-"
    rf"(?:any|(?:\.?(?:many|musl)?linux(?:_?\d{{1,4}}){{0,3}}_{_MACHINE}){{1,3}})\.whl(?:\.metadata)?"
)
_PACKAGE = re.compile(
    rf"(?P<name>[A-Za-z][A-Za-z0-9_.-]{{0,60}}?)[-@]{_VERSION}(?:(?:-\d{{1,3}})?{_WHEEL}|\.tar\.gz|\.dist-info)?"
)
_LIBRARY = re.compile(r"lib(?P<name>[a-z][a-zA-Z_+-]{0,40}\d{0,2})\.so(?:\.\d{1,4}){0,3}")
_SYSTEM = re.compile(
    rf"(?:Linux-)?\d\.\d{{1,2}}\.\d{{1,3}}(?:-\d{{1,4}})?(?:\.\d{{1,4}}){{0,3}}(?:[.-](?:generic|aws|azure|gcp|oracle|nvidia|cloud|lowlatency"
    rf"|hwe|amd64|el\d{{1,2}}(?:_\d{{1,2}})?|WSL2|microsoft|standard)){{0,4}}(?:[.-]{_MACHINE})?(?:-with-glibc\d\.\d{{1,2}})?"
)
_PLATFORM = re.compile(
    rf"(?:many|musl)linux(?:_?\d{{1,4}}){{1,2}}_{_MACHINE}|(?:linux_)?{_MACHINE}(?:-linux-gnu)?|glibc\d\.\d{{1,2}}"
    r"|(?:rocm|cuda|cu)\d{1,2}\.\d{1,2}|gfx\d{3,4}[a-z]?|py(?:thon)?3(?:\.\d{1,2})?"
)
_ONLY_VERSION = re.compile(_VERSION)


def is_version(word: str) -> bool:
    return bool(_ONLY_VERSION.fullmatch(word))


def is_platform(word: str) -> bool:
    """``x86_64``, ``manylinux_2_28_x86_64``, ``gfx942``, ``python3.12``."""
    return bool(_PLATFORM.fullmatch(word))


def is_release(word: str) -> bool:
    """A known package with its version, a shared library, or a system's kernel and machine."""
    if is_platform(word) or _SYSTEM.fullmatch(word):
        return True
    if library := _LIBRARY.fullmatch(word):
        return vocabulary.is_plain(library["name"]) or vocabulary.is_package(library["name"])
    package = _PACKAGE.fullmatch(word)
    return package is not None and vocabulary.is_package(package["name"])
